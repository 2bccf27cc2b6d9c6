import type { Config } from './config.ts';
import type { Verdict } from '#domains/items/index.ts';
import { makeStellarRpc, readSigningKey, type Anchoring, type CheckpointSigning } from '#domains/ledger/index.ts';
import { openDatabase, type Database } from '#platform/database.ts';
import { flushLogPeriodically, makeLogger, type Logger } from '#platform/logger.ts';
import { makeMetrics, type Metrics } from '#platform/metrics.ts';
import { openQueueBackend, type QueueBackend } from '#platform/queue/backend.ts';
import { makeBell, type Bell } from '#platform/queue/bell.ts';

/** What every process has: its clients and what they need. */
export interface Essentials {
  config: Config;
  databaseUrl: string;
  database: Database;
  logger: Logger;
  metrics: Metrics;
  backend: QueueBackend;
  bell: Bell;
  close(): Promise<void>;
}

/** What signs the log; undefined without a key. */
export function readCheckpointSigning(config: Config): CheckpointSigning | undefined {
  const signer = config.LOG_SIGNING_KEY === undefined ? undefined : readSigningKey(config.LOG_SIGNING_KEY);
  return (
    signer && {
      signer,
      origin: config.LOG_ORIGIN ?? signer.verifier.name,
      lastCheckpointFile: config.LOG_CHECKPOINT_FILE,
    }
  );
}

const knownNetworks = {
  testnet: { passphrase: 'Test SDF Network ; September 2015', rpcUrls: ['https://soroban-testnet.stellar.org'] },
  mainnet: { passphrase: 'Public Global Stellar Network ; September 2015', rpcUrls: [] },
} as const;
/** For one call of an RPC endpoint, of which several may be asked in turn. */
const rpcTimeoutMs = 10_000;

/** Where checkpoints are anchored; undefined where they are not to be, and a text that says why they cannot be. */
export function readAnchoring(config: Config): Anchoring | string | undefined {
  if (config.STELLAR_NETWORK === 'none') return undefined;
  const known = config.STELLAR_NETWORK === 'custom' ? undefined : knownNetworks[config.STELLAR_NETWORK];
  const networkPassphrase = known?.passphrase ?? config.STELLAR_NETWORK_PASSPHRASE;
  const urls = config.STELLAR_RPC_URLS ?? known?.rpcUrls ?? [];
  if (config.STELLAR_SECRET_KEY === undefined) return 'STELLAR_SECRET_KEY is not set';
  if (networkPassphrase === undefined) return 'STELLAR_NETWORK_PASSPHRASE is not set';
  if (urls.length === 0) return 'STELLAR_RPC_URLS is not set';
  return {
    rpc: makeStellarRpc({ urls, timeoutMs: rpcTimeoutMs }),
    networkPassphrase,
    secretKey: config.STELLAR_SECRET_KEY,
    maxFeeStroops: config.STELLAR_MAX_FEE_STROOPS,
    minEntries: config.ANCHOR_MIN_ENTRIES,
    intervalMs: config.ANCHOR_INTERVAL_MS,
  };
}

/** Counts records whose transaction was committed, by what became of them. */
export function countRecords({ records }: Metrics, verdicts: readonly Verdict[]): void {
  for (const [key, { length }] of Map.groupBy(verdicts, ({ status, outcome }) => `${status} ${outcome ?? ''}`)) {
    const [status, outcome] = key.split(' ') as [string, string];
    records.inc({ status, outcome }, length);
  }
}

/** Makes the clients of a process. Nothing is asked of Postgres or Redis yet. */
export function makeEssentials(config: Config, databaseUrl: string, role: 'web' | 'worker'): Essentials {
  const logger = makeLogger({ level: config.LOG_LEVEL, name: role });
  const stopFlushing = flushLogPeriodically(logger);
  const metrics = makeMetrics();
  const database = openDatabase({
    url: databaseUrl,
    poolSize: config.DATABASE_POOL_SIZE,
    applicationName: `defarm-${role}`,
    isWorker: role === 'worker',
  });
  const backend = openQueueBackend({ redisUrl: config.REDIS_URL, databaseUrl, prefix: config.QUEUE_PREFIX, logger });
  const bell = makeBell(backend, { logger, onMissed: (queue) => metrics.missedRings.inc({ queue }) });
  return {
    config,
    databaseUrl,
    database,
    logger,
    metrics,
    backend,
    bell,
    async close() {
      await backend.close();
      await database.close();
      stopFlushing();
    },
  };
}
