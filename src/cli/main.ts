#!/usr/bin/env node
import { Command, Option } from 'commander';
import packageDescription from '../../package.json' with { type: 'json' };
import { readConfigOrExit } from '../config.ts';
import { prepareDatabase } from '../prepare-database.ts';
import { createApiKey, createWorkspace, findWorkspace } from '#domains/accounts/index.ts';
import { isKeyName, makeSigningKey, readSigningKey } from '#domains/ledger/index.ts';
import { openDatabase, type Database } from '#platform/database.ts';
import { readRunningPostgresUrl, startEmbeddedPostgres } from '#platform/embedded-postgres.ts';
import { runMigrations } from '#platform/migrations.ts';
import { scopes, type Scope } from '#platform/route.ts';
import { checkWholeDatabase, type CheckDatabaseOptions } from './check-database.ts';
import { eraseFor, type EraseOptions } from './erase.ts';
import { listen, type ListenOptions } from './listen.ts';
import { verifyFile, type VerifyOptions } from './verify-file.ts';
import { verifyLog, type VerifyLogOptions } from './verify-log.ts';

const program = new Command('defarm')
  .description('Administration of a DeFarm installation')
  .version(packageDescription.version);
const dataOption = new Option('--data <folder>', 'data folder of an embedded installation').default('.defarm');

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Works on DATABASE_URL, or on the embedded database of a data folder, which is started for as long as it takes. */
async function withDatabase(
  folder: string,
  work: (database: Database) => Promise<void>,
  isWorker = false,
): Promise<void> {
  const running = readConfigOrExit().DATABASE_URL ?? (await readRunningPostgresUrl(folder));
  const embedded = running === undefined ? await startEmbeddedPostgres({ directory: folder }) : undefined;
  const url = running ?? embedded!.url;
  if (embedded) await runMigrations(url);
  const database = openDatabase({ url, poolSize: isWorker ? 4 : 2, applicationName: 'defarm-cli', isWorker });
  try {
    await work(database);
  } finally {
    await database.close();
    await embedded?.stop();
  }
}

program
  .command('migrate')
  .description(
    'bring the database of DATABASE_URL to the newest schema, and create first credentials when they are given',
  )
  .action(async () => {
    const config = readConfigOrExit();
    if (config.DATABASE_URL === undefined)
      throw new Error('migrate works on DATABASE_URL; `npm start` migrates its own database');
    for (const line of await prepareDatabase(config, config.DATABASE_URL)) say(line);
  });

const workspace = program.command('workspace').description('workspaces');
workspace
  .command('create')
  .argument('<name>')
  .addOption(dataOption)
  .description('create a workspace')
  .action(async (name: string, options: { data: string }) => {
    await withDatabase(options.data, async ({ knex }) => {
      const created = await createWorkspace(knex, name);
      say(`Created workspace ${created.slug} (${created.workspace_id}).`);
    });
  });

const key = program.command('key').description('API keys');
key
  .command('create')
  .requiredOption('--workspace <name>', 'the workspace that the key belongs to')
  .addOption(new Option('--scope <scope>', 'what the key may do').choices([...scopes]).default('write'))
  .option('--name <name>', 'what the key is for', 'Command line')
  .addOption(dataOption)
  .description('create an API key and print it once')
  .action(async (options: { workspace: string; scope: Scope; name: string; data: string }) => {
    await withDatabase(options.data, async ({ knex }) => {
      const found = await findWorkspace(knex, options.workspace);
      if (!found) throw new Error(`there is no workspace named ${options.workspace}`);
      const text = await createApiKey(knex, {
        workspaceId: found.workspace_id,
        name: options.name,
        scope: options.scope,
      });
      say(text);
      process.stderr.write('This key is shown only now.\n');
    });
  });

program
  .command('log-key')
  .description('keys of the transparency log')
  .command('create')
  .requiredOption('--origin <name>', 'the name of the log, such as log.example.com, which no other log has')
  .description('make a signing key and print it: LOG_SIGNING_KEY')
  .action((options: { origin: string }) => {
    if (!isKeyName(options.origin)) throw new Error('a name has no blanks and no plus signs');
    const signingKey = makeSigningKey(options.origin);
    say(signingKey);
    process.stderr.write(
      `Keep it secret. What it signs is checked with ${readSigningKey(signingKey)!.verifier.text}\n`,
    );
  });

program
  .command('verify')
  .argument('<file>', 'a proof, as GET /api/items/{dfid}/proof gives it; - for the standard input')
  .option('--key <verifier key...>', 'a key of the log that you trust, from its operator')
  .option('--account <account...>', 'an account of Stellar that you trust to anchor for the log')
  .option('--trust <file>', 'a file of such keys and accounts, one on each line')
  .option('--online <url>', 'an RPC endpoint of Stellar to ask whether the ledger has the transaction')
  .option('--strict', 'fail unless a trusted key signed it')
  .option('--json', 'print the verdict as JSON')
  .description('check a proof without any database or network; exits with 1 when it does not hold')
  .action(async (file: string, options: VerifyOptions) => {
    const { isGood, text } = await verifyFile(file, options);
    say(text);
    if (!isGood) process.exitCode = 1;
  });

program
  .command('verify-log')
  .argument('<url>', 'the address of an installation, such as https://example.com')
  .option('--key <verifier key...>', 'a key of the log that you trust, from its operator')
  .option('--account <account...>', 'an account of Stellar that you trust to anchor for the log')
  .option('--trust <file>', 'a file of such keys and accounts, one on each line')
  .option('--state <file>', 'where the checkpoint is kept that the next run compares with')
  .option('--horizon <url>', 'an endpoint of Horizon, to check all that those accounts put on the ledger')
  .description('read a whole log by its public address and check it; exits with 1 when something does not fit')
  .action(async (url: string, options: VerifyLogOptions) => say(await verifyLog(url, options)));

program
  .command('listen')
  .argument('<id>', 'the webhook, as GET /api/webhooks lists it; it may be switched off')
  .requiredOption('--key <key>', 'an API key of its workspace with the scope write')
  .option('--url <url>', 'the address of the installation', 'http://localhost:3000')
  .option('--to <url>', 'where what it is told is sent', 'http://localhost:8080')
  .description('forward what a webhook is told to a program on this machine, until you press Ctrl+C')
  .action(async (id: string, options: ListenOptions) => {
    const stop = new AbortController();
    process.once('SIGINT', () => stop.abort());
    await listen(id, options, say, stop.signal);
  });

program
  .command('erase')
  .requiredOption('--workspace <name>', 'whose data is erased; that of others stays')
  .option('--item <dfid>', 'an item: everything that the workspace said of it')
  .option('--person <number>', 'a CPF or CNPJ: every identifier, field and payload that holds it')
  .addOption(dataOption)
  .description('erase what a workspace said of an item or a person, and check that the log still verifies')
  .action(async (options: EraseOptions & { data: string }) => {
    const erase = async (database: Database) => {
      const { isGood, text } = await eraseFor(database, options);
      say(text);
      if (!isGood) process.exitCode = 1;
    };
    await withDatabase(options.data, erase, true);
  });

program
  .command('fsck')
  .option('--repair', 'put in its place again what follows from the rest')
  .option('--key <verifier key...>', 'a key of the log, to check the signature of the newest checkpoint')
  .option('--trust <file>', 'a file of such keys, one on each line')
  .option('--state <file>', 'where it is kept how far it came, so that an interrupted run can go on')
  .option('--json', 'print the report as JSON')
  .addOption(dataOption)
  .description('compute again all that the log stands on; exits with 1 when something does not fit')
  .action(async (options: CheckDatabaseOptions & { data: string }) => {
    await withDatabase(options.data, async (database) => {
      const write = process.stderr.isTTY ? (text: string) => process.stderr.write(text) : undefined;
      const { isGood, text } = await checkWholeDatabase(database, options, write);
      say(text);
      if (!isGood) process.exitCode = 1;
    });
  });

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
