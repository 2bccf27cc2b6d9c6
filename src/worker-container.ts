import type { Config } from './config.ts';
import {
  countRecords,
  makeEssentials,
  openLocalStorage,
  readAddressPolicy,
  readCheckpointSigning,
  readWitnesses,
  readDefaultAdapter,
  readKeyEncryption,
} from './container.ts';
import { makeSuggestionsWork, makeTypeRegistryLoader } from '#domains/items/index.ts';
import {
  applyPolicies,
  deleteExpiredSnapshots,
  makeLedgerWork,
  makeStellarRpc,
  stellarNetworks,
  type Anchoring,
  type CalledContracts,
  type ContractFollowing,
} from '#domains/ledger/index.ts';
import { areRecordsWaiting, makeMaintenanceWork, makeReceptionWork } from '#domains/reception/index.ts';
import {
  makeContentStart,
  makeKuboAdapter,
  makePinataAdapter,
  makeStorageWork,
  takeRequest,
  type StorageAdapter,
} from '#domains/storage/index.ts';
import {
  defaultDelaysSeconds,
  forgetMessages,
  makeAddressJudge,
  makeSafeAgent,
  makeWebhooksWork,
  resealSecrets,
  sealOpenHeaders,
  webhookRequestsMax,
} from '#domains/webhooks/index.ts';
import packageDescription from '../package.json' with { type: 'json' };
import { withTransaction, type Database } from '#platform/database.ts';

/** As long as a statement may take: longer than transactions that write events do, and clocks differ. */
const eventsSettleMs = 60_000;

/** Makes everything of a worker process but its queues, which `workers/` chooses from. */
export function makeWorker(config: Config, databaseUrl: string) {
  const essentials = makeEssentials(config, databaseUrl, 'worker');
  const { database, bell, logger, metrics } = essentials;
  const loadTypes = makeTypeRegistryLoader(database, Date.now);
  const keys = readKeyEncryption(config);
  const reception = makeReceptionWork({
    database,
    bell,
    logger,
    loadTypes,
    ingestionConcurrency: config.INGESTION_CONCURRENCY,
    deduplicationConcurrency: config.DEDUPLICATION_CONCURRENCY,
    identifiersPerItemMax: config.IDENTIFIERS_PER_ITEM_MAX,
    observeRecords: (verdicts) => countRecords(metrics, verdicts),
  });
  const webhookAgent = makeSafeAgent({
    judge: makeAddressJudge(readAddressPolicy(config)),
    dnsServers: config.WEBHOOK_DNS_SERVERS ?? [],
    connectTimeoutMs: config.WEBHOOK_TIMEOUT_MS,
    // Whoever shares a receiver's host waits for no connection: the sender itself counts the requests of each workspace to it.
    connectionsMax: webhookRequestsMax,
  });
  const webhooks = makeWebhooksWork({
    pool: database.pool,
    logger,
    keys,
    version: packageDescription.version,
    retrySchedule: config.WEBHOOK_RETRY_SCHEDULE ?? defaultDelaysSeconds,
    sender: {
      timeoutMs: config.WEBHOOK_TIMEOUT_MS,
      agent: webhookAgent,
    },
  });
  return {
    ...essentials,
    reception,
    maintenance: makeMaintenanceWork({
      database,
      bodyRetentionDays: config.BODY_RETENTION_DAYS,
      further: {
        snapshots_expired: deleteExpiredSnapshots,
        // In short transactions, since they hold webhooks.
        webhook_messages_forgotten: (_, rowsMax) =>
          withTransaction(database.pool, (client) => forgetMessages(client, config.WEBHOOK_RETENTION_DAYS, rowsMax)),
        snapshots_retired: (queryable, rowsMax) => applyPolicies(queryable, 'active', rowsMax),
        ...(keys && {
          webhook_secrets_resealed: (_, rowsMax) => resealSecrets(database.pool, keys, rowsMax),
          webhook_headers_sealed: (_, rowsMax) => sealOpenHeaders(database.pool, keys, rowsMax),
        }),
      },
    }),
    ledger: makeLedgerWork({
      pool: database.pool,
      logger,
      areRecordsWaiting,
      signing: readCheckpointSigning(config),
      witnesses: readWitnesses(config),
      anchoring: readAnchoring(config),
      following: readFollowing(config),
      calling: readCalling(config),
      startContents: makeContentStart({ loadTypes, keys, adapter: readDefaultAdapter(config), logger }),
    }),
    storage: makeStorageWork({
      pool: database.pool,
      logger,
      keys,
      adapters: openAdapters(config, database),
      defaultAdapter: readDefaultAdapter(config),
      limits: {
        itemsMax: config.STORAGE_BATCH_MAX_ITEMS,
        ageMaxMs: config.STORAGE_BATCH_MAX_AGE_MS,
        checkAfterMs: config.STORAGE_CHECK_INTERVAL_MS,
      },
    }),
    webhooks,
    suggestions: makeSuggestionsWork({ database, loadTypes, nowMs: Date.now, settleMs: eventsSettleMs }),
    async close() {
      await reception.close();
      await webhooks.close();
      await webhookAgent.close();
      await essentials.close();
    },
  };
}

/** Everything that the configuration is enough for, since workspaces may choose. */
function openAdapters(config: Config, database: Database): StorageAdapter[] {
  const timeoutMs = config.STORAGE_TIMEOUT_MS;
  const adapters: StorageAdapter[] = [];
  const local = openLocalStorage(config, database);
  if (local) adapters.push(local);
  if (config.PINATA_JWT !== undefined)
    adapters.push(
      makePinataAdapter({
        jwt: config.PINATA_JWT,
        apiUrl: config.PINATA_API_URL,
        uploadUrl: config.PINATA_UPLOAD_URL,
        timeoutMs,
        takeRequest: () => takeRequest(database.pool, 'pinata', config.PINATA_REQUESTS_PER_MINUTE),
      }),
    );
  if (config.KUBO_RPC_URL !== undefined) adapters.push(makeKuboAdapter({ rpcUrl: config.KUBO_RPC_URL, timeoutMs }));
  return adapters;
}

/** For one call of an RPC endpoint, of which several may be asked in turn. */
const rpcTimeoutMs = 10_000;

/** Where checkpoints are anchored; undefined where they are not to be, and a text that says why they cannot be. */
function readAnchoring(config: Config): Anchoring | string | undefined {
  if (config.STELLAR_NETWORK === 'none') return undefined;
  if (config.STELLAR_SECRET_KEY === undefined) return 'STELLAR_SECRET_KEY is not set';
  const network = readNetwork(config);
  if (typeof network === 'string') return network;
  return {
    ...network,
    secretKey: config.STELLAR_SECRET_KEY,
    maxFeeStroops: config.STELLAR_MAX_FEE_STROOPS,
    minEntries: config.ANCHOR_MIN_ENTRIES,
    intervalMs: config.ANCHOR_INTERVAL_MS,
  };
}

/** The network, or what is missing to reach it. */
function readNetwork(config: Config): Pick<Anchoring, 'rpc' | 'networkPassphrase'> | string {
  const { STELLAR_NETWORK: name } = config;
  const known = name === 'custom' || name === 'none' ? undefined : stellarNetworks[name];
  const networkPassphrase = known?.passphrase ?? config.STELLAR_NETWORK_PASSPHRASE;
  const urls = config.STELLAR_RPC_URLS ?? known?.rpcUrls ?? [];
  if (networkPassphrase === undefined) return 'STELLAR_NETWORK_PASSPHRASE is not set';
  if (urls.length === 0) return 'STELLAR_RPC_URLS is not set';
  return { rpc: makeStellarRpc({ urls, timeoutMs: rpcTimeoutMs }), networkPassphrase };
}

/** The contract whose events are read; undefined where there is none, and a text that says why they cannot be. */
function readFollowing(config: Config): ContractFollowing | string | undefined {
  const { STELLAR_IPCM_CONTRACT: contract, STELLAR_NETWORK: name } = config;
  if (contract === undefined) return undefined;
  if (name === 'none') return 'STELLAR_NETWORK is none';
  const network = readNetwork(config);
  if (typeof network === 'string') return network;
  return { rpc: network.rpc, network: network.networkPassphrase, contract };
}

/** The contracts that are told of contents; undefined unless one is, and somebody pays for it. */
function readCalling(config: Config): CalledContracts | undefined {
  const { STELLAR_IPCM_CONTRACT: ipcmContract, STELLAR_IPCM_FUNCTION: ipcmFunction } = config;
  const anchoring = readAnchoring(config);
  if (ipcmContract === undefined || ipcmFunction === 'none' || typeof anchoring !== 'object') return undefined;
  return {
    network: anchoring.networkPassphrase,
    ipcmContract,
    ipcmFunction,
    nftContract: config.STELLAR_NFT_CONTRACT,
  };
}

export type WorkerContainer = ReturnType<typeof makeWorker>;
