export { ledgerRoutes } from './ledger.routes.ts';
export { makeLedgerService } from './ledger.service.ts';
export { makeLedgerWork } from './ledger-work.ts';
export { isKeyName, makeSigningKey, readSigningKey, readVerifierKey } from './signed-note.ts';
export type { Anchoring } from './anchor-checkpoints.ts';
export { type CheckpointSigning } from './sign-checkpoint.ts';
export { makeStellarRpc } from './stellar-rpc.ts';
export { verifyBundle } from './verify-bundle.ts';
