import type { WorkerContainer } from '../src/worker-container.ts';

/** Stores contents of items where workspaces want them. */
export const queue = 'storage';
export const makeWork = ({ storage }: WorkerContainer) => storage;
