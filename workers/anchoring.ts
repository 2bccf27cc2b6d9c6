import type { WorkerContainer } from '../src/worker-container.ts';

/** Takes committed events into the transparency log and signs it. */
export const queue = 'anchoring';
export const makeWork = ({ ledger }: WorkerContainer) => ledger;
