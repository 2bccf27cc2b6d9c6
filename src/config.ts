import { Resolver } from 'node:dns';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { z } from 'zod';

interface Setting<Schema extends z.ZodType = z.ZodType> {
  readonly schema: Schema;
  /** What a right value looks like, for the message about a wrong one. */
  readonly expected: string;
  /** One sentence: what the key is for. */
  readonly description: string;
  /** Shown in the documents; the schema applies it. */
  readonly defaultText?: string;
  /** A secret is never printed. */
  readonly secret?: boolean;
}

function setting<Schema extends z.ZodType>(definition: Setting<Schema>): Setting<Schema> {
  return definition;
}

function wholeNumber(minimum: number, maximum: number, byDefault: number) {
  return {
    schema: z
      .string()
      .regex(/^\d{1,15}$/)
      .transform(Number)
      .refine((value) => value >= minimum && value <= maximum)
      .default(byDefault),
    expected: `a whole number from ${minimum} to ${maximum}`,
    defaultText: String(byDefault),
  };
}

const switchedOn = {
  schema: z
    .enum(['true', 'false'])
    .transform((value) => value === 'true')
    .default(false),
  expected: 'true or false',
  defaultText: 'false',
};

/** A URL of Postgres may name a user and no host (`postgres://user:password@/database?host=/folder`), which `URL` refuses. */
const urlOf = (...protocols: string[]) =>
  z
    .string()
    .refine((value) => URL.canParse(value) || value.startsWith('postgres'))
    .refine((value) => protocols.some((protocol) => value.startsWith(`${protocol}://`)));

const httpUrl = {
  schema: z
    .string()
    .refine((url) => URL.canParse(url) && /^https?:/.test(url))
    .transform((url) => url.replace(/\/+$/, '')),
  expected: 'a URL that begins with https:// or http://',
};

function isNetwork(text: string): boolean {
  const [address = '', bits = ''] = text.split('/');
  const most = { 0: -1, 4: 32, 6: 128 }[isIP(address)] ?? -1;
  return /^\d{1,3}$/.test(bits) && Number(bits) <= most;
}

function areNameServers(texts: readonly string[]): boolean {
  try {
    new Resolver().setServers(texts);
    return true;
  } catch {
    return false;
  }
}

const encryptionKey = {
  schema: z
    .string()
    .regex(/^[A-Za-z0-9+/]{43}=$/)
    .transform((text) => Buffer.from(text, 'base64'))
    .optional(),
  expected: '32 bytes in base64, as `openssl rand -base64 32` makes them',
  secret: true,
};

/** Every key that the processes read from the environment. `.env.example` and docs/configuration.md are made from this table. */
export const settings = {
  DATABASE_URL: setting({
    schema: urlOf('postgres', 'postgresql').optional(),
    expected: 'a URL that begins with postgres:// or postgresql://',
    description: 'The Postgres database that holds everything. Without it, `npm start` runs an embedded one.',
    secret: true,
  }),
  REDIS_URL: setting({
    schema: urlOf('redis', 'rediss').optional(),
    expected: 'a URL that begins with redis:// or rediss://',
    description: 'The Redis that carries the queues. Without it the queues run in Postgres, which suits one machine.',
    secret: true,
  }),
  PORT: setting({ ...wholeNumber(0, 65_535, 3000), description: 'The port that the API listens on.' }),
  PUBLIC_URL: setting({
    ...httpUrl,
    schema: httpUrl.schema.optional(),
    description:
      'Where people reach the installation, for the QR codes of public pages; without it, what each request says.',
  }),
  WORKER_METRICS_PORT: setting({
    schema: z
      .string()
      .regex(/^\d{1,5}$/)
      .transform(Number)
      .refine((value) => value <= 65_535)
      .optional(),
    expected: 'a whole number from 0 to 65535',
    description: 'The port on which a worker answers /metrics and /health/live; without it, it listens nowhere.',
  }),
  LOG_LEVEL: setting({
    schema: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']).default('info'),
    expected: 'one of fatal, error, warn, info, debug, trace, silent',
    description: 'The least important log line that is written.',
    defaultText: 'info',
  }),
  GIT_COMMIT: setting({
    schema: z.string().max(100).default('unknown'),
    expected: 'at most 100 characters',
    description: 'The commit that runs, shown by /version.',
    defaultText: 'unknown',
  }),
  DATABASE_POOL_SIZE: setting({
    ...wholeNumber(2, 200, 10),
    description: 'Connections that one process opens to Postgres at most.',
  }),
  QUEUE_PREFIX: setting({
    schema: z
      .string()
      .regex(/^[a-z0-9-]{1,40}$/)
      .default('defarm'),
    expected: '1 to 40 of the characters a–z, 0–9 and -',
    description: 'Begins the names of all keys in Redis, so that two installations can share one.',
    defaultText: 'defarm',
  }),
  INGESTION_CONCURRENCY: setting({
    ...wholeNumber(1, 64, 2),
    description: 'Groups of receipts that one worker process cuts into chunks at the same time.',
  }),
  DEDUPLICATION_CONCURRENCY: setting({
    ...wholeNumber(1, 64, 2),
    description: 'Chunks that one worker process deduplicates at the same time.',
  }),
  IDENTIFIERS_PER_ITEM_MAX: setting({
    ...wholeNumber(1, 100_000, 100),
    description: 'A record that would give an item more distinct identifying identifiers than this waits for a person.',
  }),
  CONFLICT_RECORDS_MAX: setting({
    ...wholeNumber(1, 1_000_000, 5000),
    description:
      'Records that wait in one conflict and become part of items by one decision at most; no other items are joined or taken apart meanwhile.',
  }),
  SWEEP_INTERVAL_MS: setting({
    ...wholeNumber(100, 600_000, 1000),
    description: 'Milliseconds between two looks of a worker for work that no queue announced.',
  }),
  RECEIPT_MAX_BYTES: setting({
    ...wholeNumber(1024, 268_435_456, 16_777_216),
    description: 'The largest body that a receipt may have, in bytes.',
  }),
  RECEPTION_BUFFER_BYTES: setting({
    ...wholeNumber(1024, 4_294_967_296, 67_108_864),
    description: 'Bytes of bodies that one web process holds in memory at most; beyond it requests get 503.',
  }),
  RECEPTION_KEY_SHARE_PERCENT: setting({
    ...wholeNumber(1, 100, 60),
    description: 'The part of that buffer which one workspace may fill with all its API keys, in percent.',
  }),
  BODY_MINIMUM_BYTES_PER_SECOND: setting({
    ...wholeNumber(1, 1_000_000_000, 1024),
    description: 'A body that arrives slower than this over any BODY_GRACE_MS is refused.',
  }),
  BODY_GRACE_MS: setting({
    ...wholeNumber(100, 600_000, 10_000),
    description: 'Milliseconds over which the rate of a body is measured.',
  }),
  BODY_RETENTION_DAYS: setting({
    ...wholeNumber(1, 36_500, 90),
    description: 'Days after which the bytes of a settled receipt are erased; hash, size and outcome stay.',
  }),
  LOG_SIGNING_KEY: setting({
    schema: z
      .string()
      .regex(/^PRIVATE\+KEY\+[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]+=*$/)
      .optional(),
    expected: 'a signing key as `npx defarm log-key create` makes it',
    description: 'Signs the checkpoints of the transparency log. Without it, entries are made and nothing is signed.',
    secret: true,
  }),
  LOG_SIGNING_KEY_PREVIOUS: setting({
    schema: z
      .string()
      .regex(/^PRIVATE\+KEY\+[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]+=*$/)
      .optional(),
    expected: 'a signing key as `npx defarm log-key create` makes it',
    description:
      'The key that LOG_SIGNING_KEY takes the place of: the log says so in an entry that both sign, and both sign while it is set.',
    secret: true,
  }),
  LOG_ORIGIN: setting({
    schema: z
      .string()
      .regex(/^[^\s+]{1,255}$/)
      .optional(),
    expected: '1 to 255 characters without blanks and plus signs',
    description: 'The name of the log, which no other log has; without it, the name of the signing key.',
  }),
  LOG_WITNESSES: setting({
    schema: z
      .string()
      .transform((text) => text.split(',').map((each) => each.trim()))
      .refine((witnesses) =>
        witnesses.every((each) => /^[^\s+]{1,255}\+[0-9a-f]{8}\+[A-Za-z0-9+/]+=* +https?:\/\/\S+$/.test(each)),
      )
      .optional(),
    expected: 'the verifier key of each witness, a blank and its URL, with commas between witnesses',
    description: 'Who is asked to sign checkpoints besides the log itself (C2SP tlog-witness).',
  }),
  LOG_CHECKPOINT_FILE: setting({
    schema: z.string().max(4096).optional(),
    expected: 'the path of a file in a folder that can be written',
    description:
      'Where workers keep the last signed checkpoint outside of the database, so that one that was restored is not signed.',
  }),
  STELLAR_NETWORK: setting({
    schema: z.enum(['none', 'testnet', 'mainnet', 'custom']).default('none'),
    expected: 'one of none, testnet, mainnet, custom',
    description: 'The network of Stellar on which workers anchor signed checkpoints.',
    defaultText: 'none',
  }),
  STELLAR_NETWORK_PASSPHRASE: setting({
    schema: z.string().min(1).max(200).optional(),
    expected: '1 to 200 characters',
    description: 'The passphrase of a custom network.',
  }),
  STELLAR_RPC_URLS: setting({
    schema: z
      .string()
      .transform((text) => text.split(',').map((url) => url.trim()))
      .refine((urls) => urls.every((url) => URL.canParse(url) && /^https?:/.test(url)))
      .optional(),
    expected: 'URLs that begin with https://, with commas between them',
    description: 'RPC endpoints of that network, asked in turn; needed for all but testnet.',
    secret: true,
  }),
  STELLAR_SECRET_KEY: setting({
    schema: z
      .string()
      .regex(/^S[A-Z2-7]{55}$/)
      .optional(),
    expected: 'S and 55 more characters',
    description: 'The secret key of an account that does nothing else than to anchor checkpoints, and pays for it.',
    secret: true,
  }),
  STELLAR_MAX_FEE_STROOPS: setting({
    ...wholeNumber(100, 100_000_000, 100_000),
    description: 'The most that one transaction may bid; what it costs is what the ledger asks for.',
  }),
  STELLAR_IPCM_CONTRACT: setting({
    schema: z
      .string()
      .regex(/^C[A-Z2-7]{55}$/)
      .optional(),
    expected: 'C and 55 more characters',
    description: 'An IPCM contract of that network, whose events are read into the timelines of items.',
  }),
  STELLAR_IPCM_FUNCTION: setting({
    schema: z.enum(['none', 'update', 'emit_update_event']).default('none'),
    expected: 'one of none, update, emit_update_event',
    description:
      'The function of that contract by which it is told of each public content that is stored, one transaction for each.',
    defaultText: 'none',
  }),
  STELLAR_NFT_CONTRACT: setting({
    schema: z
      .string()
      .regex(/^C[A-Z2-7]{55}$/)
      .optional(),
    expected: 'C and 55 more characters',
    description:
      'A contract that mints a token for each item before the IPCM contract is told of it for the first time.',
  }),
  ANCHOR_INTERVAL_MS: setting({
    ...wholeNumber(1000, 604_800_000, 600_000),
    description: 'Milliseconds between two anchored checkpoints at least.',
  }),
  ANCHOR_MIN_ENTRIES: setting({
    ...wholeNumber(1, 1_000_000_000, 1),
    description: 'Entries that a checkpoint has more than the one anchored before it, at least.',
  }),
  STORAGE_ADAPTER: setting({
    schema: z.enum(['none', 'local', 'pinata', 'kubo']).optional(),
    expected: 'one of none, local, pinata, kubo',
    description:
      'Where contents of items are stored for workspaces that switched it on and name no adapter. Without it nowhere; `npm start` takes local.',
  }),
  STORAGE_FOLDER: setting({
    schema: z.string().max(4096).optional(),
    expected: 'the path of a folder of this machine',
    description: 'The folder of the adapter local, on the one machine on which all processes run.',
  }),
  STORAGE_BATCH_MAX_ITEMS: setting({
    ...wholeNumber(1, 5000, 1000),
    description: 'Contents that are stored together at most.',
  }),
  STORAGE_BATCH_MAX_AGE_MS: setting({
    ...wholeNumber(0, 86_400_000, 10_000),
    description: 'Milliseconds that a content waits for others to be stored with, at most.',
  }),
  STORAGE_TIMEOUT_MS: setting({
    ...wholeNumber(100, 240_000, 120_000),
    description: 'Milliseconds that one call of a storage service may take.',
  }),
  STORAGE_CHECK_INTERVAL_MS: setting({
    ...wholeNumber(1000, 2_592_000_000, 86_400_000),
    description: 'Milliseconds after which it is looked whether stored contents are still there.',
  }),
  PINATA_JWT: setting({
    schema: z
      .string()
      .regex(/^[\x21-\x7e]{1,4096}$/)
      .optional(),
    expected: 'a key of Pinata',
    description: 'The key with which contents are pinned at Pinata; it needs the scope files:write.',
    secret: true,
  }),
  PINATA_API_URL: setting({
    ...httpUrl,
    schema: httpUrl.schema.default('https://api.pinata.cloud/v3'),
    description: 'The API of Pinata.',
    defaultText: 'https://api.pinata.cloud/v3',
  }),
  PINATA_UPLOAD_URL: setting({
    ...httpUrl,
    schema: httpUrl.schema.default('https://uploads.pinata.cloud/v3'),
    description: 'Where Pinata takes uploads.',
    defaultText: 'https://uploads.pinata.cloud/v3',
  }),
  PINATA_GATEWAY_URL: setting({
    ...httpUrl,
    schema: httpUrl.schema.default('https://gateway.pinata.cloud'),
    description: 'The gateway that links to stored contents name.',
    defaultText: 'https://gateway.pinata.cloud',
  }),
  PINATA_REQUESTS_PER_MINUTE: setting({
    ...wholeNumber(1, 100_000, 60),
    description: 'Requests that the plan at Pinata allows, for all processes together.',
  }),
  KUBO_RPC_URL: setting({
    ...httpUrl,
    schema: httpUrl.schema.optional(),
    description: 'The RPC of a node of Kubo on which contents are pinned.',
    secret: true,
  }),
  WEBHOOK_ALLOW_HTTP: setting({
    schema: z
      .enum(['true', 'false'])
      .default('false')
      .transform((text) => text === 'true'),
    expected: 'true or false',
    description: 'Whether webhooks may go to http:// URLs, too.',
    defaultText: 'false',
  }),
  WEBHOOK_ALLOWED_NETWORKS: setting({
    schema: z
      .string()
      .transform((text) => text.split(',').map((each) => each.trim()))
      .refine((networks) => networks.every(isNetwork))
      .optional(),
    expected: 'networks such as 10.1.0.0/16, with commas between them',
    description: 'Networks that webhooks may go to although they are not public.',
  }),
  WEBHOOK_ALLOWED_PORTS: setting({
    schema: z
      .string()
      .transform((text) => text.split(',').map(Number))
      .refine((ports) => ports.every((port) => Number.isInteger(port) && port >= 1 && port <= 65_535))
      .optional(),
    expected: 'ports, with commas between them',
    description: 'Ports that URLs of webhooks may name, beside those of https and http.',
  }),
  WEBHOOK_DNS_SERVERS: setting({
    schema: z
      .string()
      .transform((text) => text.split(',').map((each) => each.trim()))
      .refine(areNameServers)
      .optional(),
    expected: 'addresses such as 1.1.1.1 or [2606:4700:4700::1111]:53, with commas between them',
    description: 'Servers that resolve the names of webhooks; without it those of the system.',
  }),
  WEBHOOK_TIMEOUT_MS: setting({
    ...wholeNumber(100, 60_000, 15_000),
    description: 'Milliseconds that a receiver has, from the name to the last byte of its answer.',
  }),
  WEBHOOK_RETENTION_DAYS: setting({
    ...wholeNumber(1, 3650, 30),
    description: 'Days for which what webhooks were told is kept, with its attempts.',
  }),
  WEBHOOK_RETRY_SCHEDULE: setting({
    schema: z
      .string()
      .transform((text) => text.split(',').map(Number))
      .refine((delays) => delays.every((delay) => Number.isFinite(delay) && delay >= 0 && delay <= 604_800))
      .optional(),
    expected: 'seconds, with commas between them',
    description:
      'Delays between the attempts of a delivery, as many as a webhook is tried again that says nothing else; without it 5 s, 30 s, 2 min, 10 min, 30 min, 2 h, 6 h, 12 h, 24 h.',
  }),
  ENCRYPTION_KEY: setting({
    ...encryptionKey,
    description:
      'Seals the keys of encrypted contents, which are kept in the database. Without it nothing private is stored outside, encrypted or not.',
  }),
  ENCRYPTION_KEY_PREVIOUS: setting({
    ...encryptionKey,
    description: 'The key that ENCRYPTION_KEY takes the place of: what it sealed is sealed anew in the background.',
  }),
  BULL_BOARD_WRITABLE: setting({
    ...switchedOn,
    description: 'Lets administrators retry, promote and remove jobs in Bull Board.',
  }),
  BOOTSTRAP_ADMIN_EMAIL: setting({
    schema: z.email().optional(),
    expected: 'an e-mail address',
    description: 'Creates the first administrator of an empty database, together with BOOTSTRAP_ADMIN_PASSWORD.',
  }),
  BOOTSTRAP_ADMIN_PASSWORD: setting({
    schema: z.string().min(12).max(200).optional(),
    expected: '12 to 200 characters',
    description: 'The password of the first administrator.',
    secret: true,
  }),
  BOOTSTRAP_API_KEY: setting({
    schema: z
      .string()
      .regex(/^dfm_[A-Za-z0-9]{32,200}$/)
      .optional(),
    expected: 'dfm_ and at least 32 more letters and digits',
    description: 'Creates the first API key of an empty database, with the scope admin.',
    secret: true,
  }),
} as const;

/** Keys that another platform sets for the same thing; the first that is set counts. */
const alternativeNames: Partial<Record<keyof typeof settings, readonly string[]>> = {
  GIT_COMMIT: ['RAILWAY_GIT_COMMIT_SHA'],
};

type Settings = typeof settings;
type SettingValues = { readonly [Key in keyof Settings]: z.output<Settings[Key]['schema']> };

/** The configuration of a process, checked and frozen. Byte counts are bytes, times are milliseconds. */
export type Config = SettingValues;

/** Lists every fault of the environment at once. */
export class ConfigurationError extends Error {
  constructor(faults: readonly string[]) {
    super(
      `The configuration has ${faults.length === 1 ? 'a fault' : `${faults.length} faults`}:\n${faults.map((fault) => `  ${fault}`).join('\n')}`,
    );
    this.name = 'ConfigurationError';
  }
}

/**
 * Reads and checks the whole environment, the only place that does. An empty value counts as not set.
 * @throws ConfigurationError naming each faulty key, what was found (never a secret) and what is expected.
 */
export function readConfig(environment: NodeJS.ProcessEnv = process.env): Config {
  const faults: string[] = [];
  const values: Record<string, unknown> = {};
  const given = new Set<string>();
  for (const [key, definition] of Object.entries(settings) as [keyof Settings, Setting][]) {
    const found = readValue(environment, key, faults);
    if (found !== undefined) given.add(key);
    const result = definition.schema.safeParse(found);
    if (result.success) values[key] = result.data;
    else
      faults.push(
        `${key}: found ${definition.secret ? 'a value that is not shown' : JSON.stringify(found)}, expected ${definition.expected}`,
      );
  }
  if (given.has('BOOTSTRAP_ADMIN_EMAIL') !== given.has('BOOTSTRAP_ADMIN_PASSWORD')) {
    faults.push('BOOTSTRAP_ADMIN_EMAIL and BOOTSTRAP_ADMIN_PASSWORD: found one of them, expected both or none');
  }
  const { RECEIPT_MAX_BYTES: receiptMax, RECEPTION_BUFFER_BYTES: bufferMax } = values as Partial<Config>;
  if (receiptMax !== undefined && bufferMax !== undefined && bufferMax < receiptMax) {
    faults.push(
      `RECEPTION_BUFFER_BYTES: found ${bufferMax}, expected at least RECEIPT_MAX_BYTES (${receiptMax}), or the largest receipts never fit`,
    );
  }
  if (faults.length > 0) throw new ConfigurationError(faults);
  return Object.freeze(values) as Config;
}

/** The value of a key, or what the file named in `<KEY>_FILE` holds. */
function readValue(environment: NodeJS.ProcessEnv, key: keyof Settings, faults: string[]): string | undefined {
  for (const name of [key, ...(alternativeNames[key] ?? [])]) {
    if (environment[name]) return environment[name];
  }
  const file = environment[`${key}_FILE`];
  if (!file) return undefined;
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    faults.push(`${key}_FILE: found ${JSON.stringify(file)}, expected the path of a readable file`);
    return undefined;
  }
}

/** Reads the configuration for a process, or prints its faults and ends the process with code 78 (EX_CONFIG). */
export function readConfigOrExit(): Config {
  try {
    return readConfig();
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(78);
  }
}
