export { itemSubmissionRoutes } from './item-submission.routes.ts';
export { makeItemSubmissions } from './item-submission.service.ts';
export { makeRecordSubmitter } from './submit-record.ts';
export { makeMaintenanceWork } from './maintenance.ts';
export { makeReceiptsService } from './receipts.service.ts';
export { makeReceptionWork } from './reception-work.ts';
export { receiptRoutes } from './receipts.routes.ts';
export { readOldestUnsettled } from './stage-ages.store.ts';
