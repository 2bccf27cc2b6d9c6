import type { WorkerContainer } from '../src/worker-container.ts';

/** Cuts receipts into chunks. */
export const queue = 'ingestion';
export const makeWork = ({ reception }: WorkerContainer) => reception.ingestion;
