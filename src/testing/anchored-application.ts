import { Keypair } from '@stellar/stellar-sdk/base';
import { makeSigningKey } from '../domains/ledger/signed-note.ts';
import { startApplication, type TestApplication } from './application.ts';
import { startStellarNetwork, type StellarNetwork } from './stellar-network.ts';

/** An application that signs its log and anchors it on a network of its own, whose ledgers close by themselves. */
export interface AnchoredApplication {
  readonly application: TestApplication;
  readonly network: StellarNetwork;
  /** The account that anchors. */
  readonly account: string;
  close(): Promise<void>;
}

const ledgerEveryMs = 50;

/** Starts one; call `close()` in `afterAll`. */
export async function startAnchoredApplication(
  environment: Readonly<Record<string, string>> = {},
): Promise<AnchoredApplication> {
  const keypair = Keypair.random();
  const network = await startStellarNetwork();
  network.createAccount(keypair.publicKey(), 100_000_000n);
  const ledgers = setInterval(() => network.closeLedger(), ledgerEveryMs);
  const application = await startApplication({
    backend: 'postgres',
    environment: {
      LOG_SIGNING_KEY: makeSigningKey('example.com/log'),
      STELLAR_NETWORK: 'custom',
      STELLAR_NETWORK_PASSPHRASE: network.passphrase,
      STELLAR_RPC_URLS: network.url,
      STELLAR_SECRET_KEY: keypair.secret(),
      ANCHOR_INTERVAL_MS: '1000',
      SWEEP_INTERVAL_MS: '100',
      ...environment,
    },
  });
  return {
    application,
    network,
    account: keypair.publicKey(),
    async close() {
      await application.close();
      clearInterval(ledgers);
      await network.close();
    },
  };
}
