import type { WorkerContainer } from '../src/worker-container.ts';

/** Finds items that may be one, for workspaces that ask. */
export const queue = 'suggestions';
export const makeWork = ({ suggestions }: WorkerContainer) => suggestions;
