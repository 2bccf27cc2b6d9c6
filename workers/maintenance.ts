import type { WorkerContainer } from '../src/worker-container.ts';

/** Erases what is kept for a time only. */
export const queue = 'maintenance';
export const makeWork = ({ maintenance }: WorkerContainer) => maintenance;
