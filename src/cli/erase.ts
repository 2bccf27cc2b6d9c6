import { findWorkspace } from '#domains/accounts/index.ts';
import { makeItemActs, makeItemNumberSource, makeItemsService, makeTypeRegistryLoader } from '#domains/items/index.ts';
import { checkDatabase, makeErasure } from '#domains/ledger/index.ts';
import { recountEntries } from '#domains/reception/index.ts';
import type { Database } from '#platform/database.ts';

export interface EraseOptions {
  readonly workspace: string;
  readonly item?: string;
  readonly person?: string;
}

/**
 * Erases what a workspace said of an item or a person, and checks the whole database afterwards.
 * @param database with the session of a worker.
 * @throws Error that says why nothing was erased.
 */
export async function eraseFor(
  database: Database,
  { workspace, item, person }: EraseOptions,
): Promise<{ isGood: boolean; text: string }> {
  if ((item === undefined) === (person === undefined)) throw new Error('name either an item or a person');
  const found = await findWorkspace(database.knex, workspace);
  if (!found) throw new Error(`there is no workspace named ${workspace}`);
  const loadTypes = makeTypeRegistryLoader(database, Date.now);
  const items = makeItemsService({ database, loadTypes });
  const acts = makeItemActs({
    pool: database.pool,
    takeNumbers: makeItemNumberSource(database.pool),
    loadTypes,
    nowMs: Date.now,
    recount: recountEntries,
  });
  const erasure = makeErasure({ acts, items, loadTypes });
  const principal = { workspaceId: found.workspace_id, scope: 'admin', credentialId: 'command line' } as const;
  const erased = await (item === undefined
    ? erasure.erasePerson(principal, person!)
    : erasure.eraseItem(principal, item));
  const dfids = [...(await items.dfidsOf(erased.itemNumbers)).values()];
  const report = await checkDatabase({ database, keys: [], repairs: false, from: 0, onProgress: () => {} });
  const lines = [
    `Erased what ${workspace} said${item === undefined ? ' of the person' : ''} of ${dfids.length} items: ${dfids.slice(0, 20).join(', ')}${dfids.length > 20 ? ', …' : ''}`,
    ...erased.tables.filter(({ rows }) => rows > 0).map(({ table, rows }) => `${table.padEnd(24)}${rows} rows`),
    'Workers remove what is stored outside. Backups keep what they have until they age out.',
    ...report.faults.map(({ step, detail }) => `FAULT  ${step}  ${detail}`),
    report.faultsTotal === 0
      ? `The log still verifies: ${report.entries} entries, ${report.unexplained} of which nobody can explain any more.`
      : `${report.faultsTotal} things in the database do not fit.`,
  ];
  return { isGood: report.faultsTotal === 0, text: lines.join('\n') };
}
