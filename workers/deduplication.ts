import type { WorkerContainer } from '../src/worker-container.ts';

/** Makes the records of chunks part of items. */
export const queue = 'deduplication';
export const makeWork = ({ reception }: WorkerContainer) => reception.deduplication;
