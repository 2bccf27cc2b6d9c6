import { globSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import pg from 'pg';
import packageDescription from '../package.json' with { type: 'json' };
import type { Config } from './config.ts';
import {
  defaultDelaysSeconds,
  makeAddressJudge,
  makeEndpointDeliveries,
  makeEndpointsService,
  webhookRoutes,
} from '#domains/webhooks/index.ts';
import { openDatabase, surviveLostConnections } from '#platform/database.ts';
import {
  countRecords,
  makeEssentials,
  openLocalStorage,
  readAdapterNames,
  readAddressPolicy,
  readCheckpointSigning,
  readDefaultAdapter,
  type Essentials,
  readKeyEncryption,
} from './container.ts';
import { makeApp } from './api/app.ts';
import { boardRouter } from './api/bull-board.ts';
import { BodyBudget } from './api/body-reader.ts';
import { documentationRouter } from './api/documentation.ts';
import { makeIdempotentAnswers } from './api/idempotent-answers.ts';
import { describeApi } from './api/openapi.ts';
import { operationsRoutes, type Readiness } from './api/operations.routes.ts';
import { makeAuthentication, makeWorkspacesService, workspaceRoutes } from '#domains/accounts/index.ts';
import {
  canonicalIdentifierRoutes,
  conflictRoutes,
  dfidRoutes,
  eventRoutes,
  fingerprintRuleRoutes,
  itemActRoutes,
  itemHistoryRoutes,
  itemRoutes,
  localItemRoutes,
  makeCanonicalIdentifiersService,
  makeConflictResolver,
  makeConflictsService,
  makeFingerprintRulesService,
  makeItemActs,
  makeItemChanges,
  makeItemHistory,
  makeItemNumberSource,
  makeItemRelationships,
  makeItemsService,
  makeQualityRulesCache,
  makeQualityRulesService,
  makeSuggestionsService,
  makeLocalItemMergesService,
  makeLocalItemsService,
  makeTypeRegistryLoader,
  qualityRuleRoutes,
  suggestionRoutes,
  type Verdict,
} from '#domains/items/index.ts';
import {
  adapterRoutes,
  ledgerRoutes,
  makeAdapterReport,
  makeLedgerService,
  makeMerkleTreesService,
  makePublicItems,
  findCallsOfContents,
  itemTreeRoutes,
  makeItemTreesService,
  makeSnapshotsService,
  makeTimelineService,
  merkleTreeRoutes,
  snapshotRoutes,
  timelineRoutes,
  publicItemRoutes,
} from '#domains/ledger/index.ts';
import {
  bulkIngestionRoutes,
  itemSubmissionRoutes,
  makeBulkIngestion,
  makeBulkPreview,
  makeItemSubmissions,
  makePendingItemsService,
  makeReceiptsService,
  makeRecordSubmitter,
  pendingItemRoutes,
  readOldestUnsettled,
  receiptRoutes,
  recountEntries,
} from '#domains/reception/index.ts';
import { makeIpfsGateway, makeStorageService, storageRoutes } from '#domains/storage/index.ts';
import { findPendingMigrations } from '#platform/migrations.ts';
import type { QueueDefinition } from '#platform/queue/definition.ts';
import type { Route } from '#platform/route.ts';

/** Every queue that a domain defines in a `*.jobs.ts`; found by looking, so that no list has to agree with another. */
async function findQueues(): Promise<QueueDefinition[]> {
  const files = globSync('domains/*/*.jobs.ts', { cwd: import.meta.dirname }).toSorted();
  const modules = await Promise.all(
    files.map(
      (file) => import(pathToFileURL(`${import.meta.dirname}/${file}`).href) as Promise<Record<string, unknown>>,
    ),
  );
  return modules
    .flatMap((module) => Object.values(module))
    .filter(
      (value): value is QueueDefinition =>
        typeof value === 'object' && value !== null && 'schema' in value && 'description' in value,
    );
}

/** Group commits and large bodies, two of each at once. */
const receptionPoolSize = 4;
/** Records that requests have absorbed at the same time. */
const submissionPoolSize = 3;

/**
 * Makes everything of a web process. Nothing is asked of Postgres or Redis yet.
 * @param furtherRoutes rows of a measurement or a test, served like all others.
 */
export async function makeWeb(config: Config, databaseUrl: string, furtherRoutes: readonly Route[] = []) {
  const essentials = makeEssentials(config, databaseUrl, 'web');
  const { database, logger, metrics, backend, bell } = essentials;
  const queues = await findQueues();
  const authentication = makeAuthentication(database, Date.now);
  const loadTypes = makeTypeRegistryLoader(database, Date.now);
  const items = makeItemsService({ database, loadTypes });
  const itemChanges = makeItemChanges({ database, loadTypes });
  // Reads that take long must not keep what arrives waiting for a connection.
  const receptionPool = new pg.Pool({
    ...database.pool.options,
    max: receptionPoolSize,
    application_name: 'defarm-reception',
  });
  surviveLostConnections(receptionPool);
  const receipts = makeReceiptsService({
    database,
    receptionPool,
    bell,
    items,
    loadTypes,
    observeGroup: (rows) => metrics.groupRows.observe(rows),
  });
  const submissionDatabase = openDatabase({
    url: databaseUrl,
    poolSize: submissionPoolSize,
    applicationName: 'defarm-submission',
    isWorker: true,
    answersRequests: true,
  });
  const takeItemNumbers = makeItemNumberSource(database.pool);
  const submissionOptions = {
    submissionPool: submissionDatabase.pool,
    takeItemNumbers,
    identifiersPerItemMax: config.IDENTIFIERS_PER_ITEM_MAX,
    loadTypes,
    loadQualityRules: makeQualityRulesCache(),
    observeRecords: (verdicts: readonly Verdict[]) => countRecords(metrics, verdicts),
  };
  const submitter = makeRecordSubmitter(submissionOptions);
  const { pool } = submissionDatabase;
  const acts = makeItemActs({
    pool,
    takeNumbers: takeItemNumbers,
    loadTypes,
    nowMs: Date.now,
    recount: recountEntries,
  });
  const submissions = makeItemSubmissions({ pool, items, acts, submitter, takeItemNumbers, loadTypes });
  const preview = makeBulkPreview({ ...submissionOptions, items });
  const bulk = makeBulkIngestion({ reads: submissionDatabase.pool, receipts, preview, loadTypes });
  const pendingItems = makePendingItemsService({
    database,
    resolutionDatabase: submissionDatabase,
    items,
    identifiersPerItemMax: config.IDENTIFIERS_PER_ITEM_MAX,
    loadTypes,
  });
  const budget = new BodyBudget({
    maxBytes: config.RECEIPT_MAX_BYTES,
    budgetBytes: config.RECEPTION_BUFFER_BYTES,
    shareBytes: Math.max(
      config.RECEIPT_MAX_BYTES,
      Math.floor((config.RECEPTION_BUFFER_BYTES * config.RECEPTION_KEY_SHARE_PERCENT) / 100),
    ),
    minimumBytesPerSecond: config.BODY_MINIMUM_BYTES_PER_SECOND,
    graceMs: config.BODY_GRACE_MS,
  });
  const signing = readCheckpointSigning(config);
  const ledger = makeLedgerService({
    database,
    items,
    maxFeeStroops: config.STELLAR_MAX_FEE_STROOPS,
    verifierKey: typeof signing === 'object' ? signing.signer.verifier.text : undefined,
  });
  const storage = makeStorageService({
    database,
    items,
    loadTypes,
    adapters: readAdapterNames(config),
    defaultAdapter: readDefaultAdapter(config),
    canEncrypt: config.ENCRYPTION_KEY !== undefined,
    gateways: { pinata: config.PINATA_GATEWAY_URL },
    findTransactions: (contentIds) => findCallsOfContents(database.pool, contentIds),
  });
  const version = { version: packageDescription.version, commit: config.GIT_COMMIT, node: process.version };
  const routes = [
    ...operationsRoutes({
      version,
      checkReadiness: makeReadinessCheck(essentials),
      readMetrics: () => readMetrics(essentials, queues, budget),
    }),
    ...receiptRoutes(receipts),
    // Before the items, which take any word for an id.
    ...localItemRoutes(
      makeLocalItemsService({ database, loadTypes, nowMs: Date.now }),
      makeLocalItemMergesService({ database, loadTypes }),
    ),
    ...itemSubmissionRoutes(submissions),
    ...conflictRoutes(
      makeConflictsService({ pool, loadTypes }),
      makeConflictResolver({
        acts,
        takeNumbers: takeItemNumbers,
        nowMs: Date.now,
        entriesMax: config.CONFLICT_RECORDS_MAX,
        recount: recountEntries,
      }),
    ),
    ...itemActRoutes(acts, makeItemRelationships({ pool, nowMs: Date.now })),
    ...storageRoutes(storage, makeIpfsGateway({ queryable: database.pool, local: openLocalStorage(config, database) })),
    ...adapterRoutes(makeAdapterReport({ database, items, storage })),
    ...ledgerRoutes(ledger),
    ...itemTreeRoutes(makeItemTreesService({ database, items })),
    ...merkleTreeRoutes(makeMerkleTreesService({ database })),
    ...timelineRoutes(makeTimelineService({ database, items, customNetwork: config.STELLAR_NETWORK_PASSPHRASE })),
    ...webhookRoutes(
      makeEndpointsService({
        database,
        judge: makeAddressJudge(readAddressPolicy(config)),
        keys: readKeyEncryption(config),
        retrySchedule: config.WEBHOOK_RETRY_SCHEDULE ?? defaultDelaysSeconds,
      }),
      makeEndpointDeliveries({ pool, keys: readKeyEncryption(config), version: packageDescription.version }),
    ),
    ...snapshotRoutes(makeSnapshotsService({ database, submitter })),
    ...publicItemRoutes({
      publicItems: makePublicItems({ database, items, ledger }),
      publicUrl: config.PUBLIC_URL,
    }),
    ...itemHistoryRoutes(makeItemHistory({ database })),
    ...bulkIngestionRoutes(bulk),
    ...pendingItemRoutes(pendingItems),
    ...qualityRuleRoutes(makeQualityRulesService({ database, loadTypes })),
    ...suggestionRoutes(makeSuggestionsService({ database, items, loadTypes })),
    ...itemRoutes(items, itemChanges),
    ...eventRoutes(items, itemChanges),
    ...dfidRoutes(items),
    ...canonicalIdentifierRoutes(makeCanonicalIdentifiersService(database)),
    ...fingerprintRuleRoutes(makeFingerprintRulesService(database)),
    ...workspaceRoutes(makeWorkspacesService(database)),
    ...furtherRoutes,
  ];
  const app = makeApp({
    routes,
    pages: [
      documentationRouter(describeApi(routes, version.version)),
      boardRouter({ backend, queues, authentication, isWritable: config.BULL_BOARD_WRITABLE }),
    ],
    logger,
    metrics,
    authentication,
    budget,
    idempotentAnswers: makeIdempotentAnswers(database.pool),
  });
  return {
    app,
    routes,
    logger,
    /** Answers at once those who wait for their receipt to settle, from now on. */
    endWaiting: () => receipts.stop(),
    /** Ends what waits, keeps what was promised, closes what is open. */
    async close() {
      receipts.stop();
      await receipts.flush();
      authentication.stop();
      await receptionPool.end();
      await submissionDatabase.close();
      await essentials.close();
    },
  };
}

const migrationsCheckedForMs = 5000;
/** A platform that asks whether we are ready gives up after a few seconds; a database that hangs is not reached either. */
const readinessTimeoutMs = 4000;

function makeReadinessCheck({ database, databaseUrl, backend }: Essentials): () => Promise<Readiness> {
  let checkedAtMs = 0;
  let pending: readonly string[] = [];
  const askDatabase = async () => {
    await database.pool.query('select 1');
    // Only the good news is remembered: who waits for a release wants to hear at once that it is done.
    if (pending.length === 0 && Date.now() - checkedAtMs <= migrationsCheckedForMs) return;
    pending = await findPendingMigrations(databaseUrl);
    checkedAtMs = Date.now();
  };
  return async () => {
    const reasons: string[] = [];
    const isReached = await settlesWithin(askDatabase(), readinessTimeoutMs);
    if (!isReached) reasons.push('Postgres cannot be reached');
    else if (pending.length > 0)
      reasons.push(`the database lacks ${pending.length} migrations; run the release command`);
    const isReady = reasons.length === 0;
    if (!backend.isReady()) reasons.push('Redis cannot be reached; work goes on, but slower');
    return { isReady, reasons };
  };
}

/** True when the promise resolves in time; false when it rejects or takes longer. */
async function settlesWithin(promise: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, timeoutMs, false);
  });
  const settled = promise.then(
    () => true,
    () => false,
  );
  try {
    return await Promise.race([settled, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

async function readMetrics(
  { database, metrics, bell, backend }: Essentials,
  queues: readonly QueueDefinition[],
  budget: BodyBudget,
) {
  const { pool } = database;
  metrics.poolConnections.set({ state: 'open' }, pool.totalCount);
  metrics.poolConnections.set({ state: 'idle' }, pool.idleCount);
  metrics.poolConnections.set({ state: 'waiting' }, pool.waitingCount);
  metrics.bufferBytes.set(budget.heldBytes);
  // Numbers that cannot be had now are left out rather than told wrong.
  metrics.oldestUnsettledSeconds.reset();
  metrics.queueJobs.reset();
  const ages = await readOldestUnsettled(pool).catch(() => new Map<string, number>());
  for (const [stage, seconds] of ages) metrics.oldestUnsettledSeconds.set({ stage }, seconds);
  if (backend.isReady()) {
    await Promise.all(
      queues.map(async ({ name }) => {
        for (const [state, count] of Object.entries((await bell.countJobs(name)) ?? {}))
          metrics.queueJobs.set({ queue: name, state }, count);
      }),
    );
  }
  return { contentType: metrics.registry.contentType, text: await metrics.registry.metrics() };
}
