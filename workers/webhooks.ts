import type { WorkerContainer } from '../src/worker-container.ts';

/** Tells endpoints of events. */
export const queue = 'webhooks';
export const makeWork = ({ webhooks }: WorkerContainer) => webhooks;
