export { makeMaintenanceWork } from './maintenance.ts';
export { makeReceiptsService } from './receipts.service.ts';
export { makeReceptionWork } from './reception-work.ts';
export { receiptRoutes } from './receipts.routes.ts';
export { readOldestUnsettled } from './stage-ages.store.ts';
