import type { Config } from './config.ts';
import type { Verdict } from '#domains/items/index.ts';
import { readSigningKey, readVerifierKey, type CheckpointSigning, type Witness } from '#domains/ledger/index.ts';
import { claimLocalFolder, makeLocalAdapter, type AdapterName } from '#domains/storage/index.ts';
import type { AddressPolicy } from '#domains/webhooks/index.ts';
import { openDatabase, type Database } from '#platform/database.ts';
import { makeKeyEncryption, type KeyEncryption } from '#platform/key-encryption.ts';
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

/** What signs the log; undefined without a key, and a text for one that is none. */
export function readCheckpointSigning(config: Config): CheckpointSigning | string | undefined {
  if (config.LOG_SIGNING_KEY === undefined) return undefined;
  const signer = readSigningKey(config.LOG_SIGNING_KEY);
  if (!signer) return 'LOG_SIGNING_KEY is no signing key';
  const { LOG_SIGNING_KEY_PREVIOUS: previousText } = config;
  const previous = previousText === undefined ? undefined : readSigningKey(previousText);
  if (previousText !== undefined && !previous) return 'LOG_SIGNING_KEY_PREVIOUS is no signing key';
  return {
    signer,
    previous,
    origin: config.LOG_ORIGIN ?? (previous ?? signer).verifier.name,
    lastCheckpointFile: config.LOG_CHECKPOINT_FILE,
  };
}

/** Who is asked to sign checkpoints, too. @throws Error for a key that is none of a witness */
export function readWitnesses({ LOG_WITNESSES: witnesses = [] }: Config): Witness[] {
  return witnesses.map((text) => {
    const [key = '', url = ''] = text.split(/ +/);
    const verifier = readVerifierKey(key);
    if (verifier?.kind !== 'cosignature') throw new Error(`LOG_WITNESSES: ${key} is no verifier key of a witness`);
    return { verifier, url };
  });
}

/** What seals secrets that are kept in the database; undefined without a key. */
export function readKeyEncryption(config: Config): KeyEncryption | undefined {
  const { ENCRYPTION_KEY: key, ENCRYPTION_KEY_PREVIOUS: previous } = config;
  return key && makeKeyEncryption(previous ? [key, previous] : [key]);
}

/** Where webhooks may go. */
export function readAddressPolicy(config: Config): AddressPolicy {
  return {
    allowedNetworks: config.WEBHOOK_ALLOWED_NETWORKS ?? [],
    allowedPorts: config.WEBHOOK_ALLOWED_PORTS ?? [],
    allowsHttp: config.WEBHOOK_ALLOW_HTTP,
  };
}

/** The adapters that the configuration is enough for. */
export function readAdapterNames(config: Config): AdapterName[] {
  return [
    ...(config.STORAGE_FOLDER === undefined ? [] : (['local'] as const)),
    ...(config.PINATA_JWT === undefined ? [] : (['pinata'] as const)),
    ...(config.KUBO_RPC_URL === undefined ? [] : (['kubo'] as const)),
  ];
}

/** The adapter of workspaces that name none; null when there is none. */
export function readDefaultAdapter({ STORAGE_ADAPTER: adapter }: Config): AdapterName | null {
  return adapter === undefined || adapter === 'none' ? null : adapter;
}

/** The folder of this machine in which contents are stored; undefined where there is none. */
export function openLocalStorage(config: Config, { pool }: Database) {
  const folder = config.STORAGE_FOLDER;
  return folder === undefined ? undefined : makeLocalAdapter(folder, () => claimLocalFolder(pool, folder));
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
