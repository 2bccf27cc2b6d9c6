export { makeMaintenanceWork } from './maintenance.ts';
export { makeReceiptsService } from './receipts.service.ts';
export { makeReceptionWork } from './reception-work.ts';
export { receiptRoutes } from './receipts.routes.ts';
export { readOldestUnsettled } from './stage-ages.store.ts';
export { pendingItemRoutes } from './review/pending-items.routes.ts';
export { makePendingItemsService } from './review/pending-items.service.ts';
