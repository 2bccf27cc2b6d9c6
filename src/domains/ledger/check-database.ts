import { withTransaction, type Database } from '#platform/database.ts';
import { parseJson } from '#platform/json/parse-json.ts';
import { checkBatches, findAddresses, type ContentAddresses } from '#domains/storage/index.ts';
import {
  findWholeTiles,
  listCheckedAnchors,
  readCheckedEntries,
  replaceTiles,
  type CheckedAnchorRow,
  type CheckedEntryRow,
} from './check-database.store.ts';
import { readCheckpoint } from './checkpoint.ts';
import { entryOf } from './entry-commitment.ts';
import { checkItemTrees } from './item-trees/check-item-trees.ts';
import { forgetTrees } from './item-trees/item-trees.store.ts';
import { leafHash, sha256 } from './log-tree.ts';
import { readRoot, TileBuilder } from './log-tiles.ts';
import { findCheckpoint, readLogState, type LogTile } from './log.store.ts';
import { commitToEvent } from './logged-event.ts';
import { commitToVersion, type LoggedContent } from './logged-version.ts';
import { isSignedBy, type NoteVerifier } from './signed-note.ts';

/** Something that does not fit. */
export interface DatabaseFault {
  readonly step: 'entry' | 'content' | 'tile' | 'root' | 'checkpoint' | 'anchor' | 'batch' | 'item tree';
  readonly detail: string;
}

export interface DatabaseReport {
  /** Entries of the log that were read, and those of them whose event or version is there and leads to them. */
  entries: number;
  explained: number;
  /** Entries that nobody can explain any more: erased, or the event became one of another item. */
  unexplained: number;
  /** Contents outside whose bytes lead to the address that the log has. */
  contents: number;
  tiles: number;
  anchors: number;
  batches: number;
  /** Tiles that were put in their place again. */
  repaired: number;
  /** Whether the roots of items were wrong, and are made again by the workers. */
  treesForgotten: boolean;
  faults: DatabaseFault[];
  /** Faults in all, also those that are not listed. */
  faultsTotal: number;
}

interface CheckOptions {
  readonly database: Database;
  /** Keys that may have signed the log; without any, signatures are not checked. */
  readonly keys: readonly NoteVerifier[];
  /** Whether to put what follows from the rest in its place. */
  readonly repairs: boolean;
  /** Entries that an earlier run checked already. */
  readonly from: number;
  /**
   * Told how many of how many entries are checked.
   * @param clean the entries before the first fault: a later run may go on from there, and finds the fault again.
   */
  onProgress(checked: number, total: number, clean: number): void;
}

/** A whole number of tiles, so that a later run goes on where no tile is open. */
const pageEntries = 8192;
const listedFaultsMax = 100;
const anchorsAtOnce = 500;

/**
 * Computes again everything that the log stands on: contents lead to addresses, events and versions to entries, entries to
 * tiles, tiles to the root, the root to the checkpoint, and the checkpoint to the transactions that anchor it.
 */
export async function checkDatabase(options: CheckOptions): Promise<DatabaseReport> {
  const { pool } = options.database;
  const report: DatabaseReport = {
    entries: 0,
    explained: 0,
    unexplained: 0,
    contents: 0,
    tiles: 0,
    anchors: 0,
    batches: 0,
    repaired: 0,
    treesForgotten: false,
    faults: [],
    faultsTotal: 0,
  };
  const tell = (step: DatabaseFault['step'], detail: string) => {
    report.faultsTotal += 1;
    if (report.faults.length < listedFaultsMax) report.faults.push({ step, detail });
  };
  const { size } = await readLogState(pool);
  const wrongTiles = await checkEntries(options, size, report, tell);
  if (wrongTiles.length > 0 && options.repairs && (await leadToCheckpoint(options, wrongTiles, tell))) {
    await replaceTiles(pool, wrongTiles);
    report.repaired += wrongTiles.length;
  } else for (const { level, number } of wrongTiles) tell('tile', `tile ${level}/${number} is missing or wrong`);
  await checkCheckpoint(options, size, tell);
  await checkAnchors(options, size, report, tell);
  await checkTrees(options, report, tell);
  report.batches = await checkBatches(pool, (batchId, detail) => tell('batch', `batch ${batchId}: ${detail}`));
  return report;
}

/** The roots of items follow from the entries of the log, so they can always be made again. */
async function checkTrees(
  { database: { pool }, repairs }: CheckOptions,
  report: DatabaseReport,
  tell: Tell,
): Promise<void> {
  const faults: string[] = [];
  await withTransaction(pool, async (client) => {
    // Nobody grows them meanwhile.
    await client.query('select from item_tree_state for update');
    await checkItemTrees(client, (detail) => faults.push(detail));
    if (faults.length > 0 && repairs) await forgetTrees(client);
  });
  if (repairs) report.treesForgotten = faults.length > 0;
  else for (const detail of faults) tell('item tree', detail);
}

type Tell = (step: DatabaseFault['step'], detail: string) => void;

/** Walks through all entries; gives the tiles that must be there and are not. */
async function checkEntries(
  { database: { pool }, from, onProgress }: CheckOptions,
  size: number,
  report: DatabaseReport,
  tell: Tell,
): Promise<LogTile[]> {
  const begin = Math.min(from - (from % pageEntries), size);
  const builder = await TileBuilder.at(pool, begin);
  const wrong: LogTile[] = [];
  let clean = begin;
  for (let at = begin; at < size; at += pageEntries) {
    const end = Math.min(at + pageEntries, size);
    const rows = await readCheckedEntries(pool, at, end);
    if (rows.length !== end - at) {
      tell('entry', `entries ${at} to ${end - 1} have gaps: ${rows.length} are there`);
      return wrong;
    }
    for (const row of rows) checkEntry(row, report, tell);
    await checkContents(pool, rows, report, tell);
    const tiles = builder.append(rows.map(({ commitment }) => leafHash(entryOf(commitment))));
    wrong.push(...(await findWrongTiles(pool, tiles)));
    report.tiles += tiles.length;
    report.entries += rows.length;
    if (wrong.length === 0 && report.faultsTotal === 0) clean = end;
    onProgress(end, size, clean);
  }
  return wrong;
}

function checkEntry(row: CheckedEntryRow, report: DatabaseReport, tell: Tell): void {
  const { seed, content, version, version_recorded_at: recordedAt } = row;
  const isThere = row.event_id === null ? version !== null && content !== null : row.is_event_there;
  if (seed === null || !isThere || row.country === null) {
    report.unexplained += 1;
    return;
  }
  const commitment =
    version === null
      ? commitToEvent(row, seed)
      : commitToVersion({ ...row, version, recorded_at: recordedAt! }, parseJson(content!) as LoggedContent, seed);
  if (commitment.equals(row.commitment)) report.explained += 1;
  else tell('entry', `entry ${row.index} is not what its ${version === null ? 'event' : 'version'} leads to`);
}

/** Contents that the log names must have the bytes that lead to their addresses. */
async function checkContents(
  pool: Database['pool'],
  rows: readonly CheckedEntryRow[],
  report: DatabaseReport,
  tell: Tell,
): Promise<void> {
  const named = rows.flatMap(({ workspace_id, item_number, version, content }) => {
    const stored = content === null ? undefined : (parseJson(content) as { stored?: ContentAddresses }).stored;
    return version === null || !stored
      ? []
      : { workspaceId: workspace_id, itemNumber: item_number, version, cids: Object.values(stored) as string[] };
  });
  const found = await findAddresses(pool, named);
  for (const { itemNumber, version, cids } of named) {
    for (const cid of cids) {
      const address = found.get(cid);
      if (address === undefined)
        tell('content', `the content ${cid} of version ${version} of item ${itemNumber} is missing`);
      else if (address !== 'erased' && address !== cid) tell('content', `the content ${cid} has other bytes`);
      else if (address === cid) report.contents += 1;
    }
  }
}

async function findWrongTiles(pool: Database['pool'], tiles: readonly LogTile[]): Promise<LogTile[]> {
  if (tiles.length === 0) return [];
  const nameOf = ({ level, number }: Pick<LogTile, 'level' | 'number'>) => `${level}/${number}`;
  const stored = new Map((await findWholeTiles(pool, tiles)).map((tile) => [nameOf(tile), tile]));
  return tiles.filter((tile) => {
    const known = stored.get(nameOf(tile));
    return !known?.hashes.equals(tile.hashes) || !known.root.equals(tile.root);
  });
}

/** Whether the entries are those that were signed: else tiles made of them would hide what happened. */
async function leadToCheckpoint(
  { database: { pool } }: CheckOptions,
  tiles: readonly LogTile[],
  tell: Tell,
): Promise<boolean> {
  const checkpoint = await findCheckpoint(pool);
  if (!checkpoint) return true;
  const client = await pool.connect();
  try {
    await client.query('begin');
    await replaceTiles(client, tiles);
    const root = await readRoot({ queryable: client }, checkpoint.size);
    if (root.equals(checkpoint.root)) return true;
    tell('root', 'the entries do not lead to the signed root, so no tile was made of them');
    return false;
  } finally {
    await client.query('rollback');
    client.release();
  }
}

async function checkCheckpoint({ database: { pool }, keys }: CheckOptions, size: number, tell: Tell): Promise<void> {
  const kept = await findCheckpoint(pool);
  if (!kept) return;
  const checkpoint = readCheckpoint(kept.note);
  if (!checkpoint || checkpoint.size !== kept.size || !checkpoint.root.equals(kept.root))
    return tell('checkpoint', 'the newest checkpoint is not the note that it was signed with');
  if (kept.size > size) return tell('checkpoint', `${kept.size} entries were signed, and ${size} are there`);
  await compareRoot(pool, kept, 'the newest checkpoint', tell);
  const verdicts = new Set(keys.map((key) => isSignedBy(checkpoint.note, key)));
  if (keys.length > 0 && (verdicts.has(false) || !verdicts.has(true)))
    tell('checkpoint', 'the newest checkpoint is not signed by the key that was given');
}

async function compareRoot(
  pool: Database['pool'],
  { size, root }: { size: number; root: Buffer },
  name: string,
  tell: Tell,
): Promise<void> {
  try {
    if (!(await readRoot({ queryable: pool }, size)).equals(root))
      tell('root', `the log does not lead to the root of ${name}`);
  } catch (error) {
    tell('root', `the root of ${name} cannot be computed: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function checkAnchors(
  { database: { pool } }: CheckOptions,
  size: number,
  report: DatabaseReport,
  tell: Tell,
): Promise<void> {
  let after = 0;
  for (;;) {
    const anchors = await listCheckedAnchors(pool, after, anchorsAtOnce);
    if (anchors.length === 0) return;
    for (const anchor of anchors) {
      if (anchor.size !== after) {
        report.anchors += 1;
        if (anchor.size > size) tell('anchor', `${anchor.size} entries were anchored, and ${size} are there`);
        else await compareRoot(pool, anchor, `the checkpoint of ${anchor.size} entries that is anchored`, tell);
      }
      after = anchor.size;
      await checkEnvelope(anchor, tell);
    }
  }
}

async function checkEnvelope(anchor: CheckedAnchorRow, tell: Tell): Promise<void> {
  const { readEnvelope } = await import('./stellar-xdr.ts');
  const envelope = readEnvelope(anchor.envelope_xdr, anchor.network_passphrase);
  const checkpoint = readCheckpoint(anchor.note);
  const fault =
    !envelope || envelope.hash !== anchor.hash || envelope.source !== anchor.source
      ? 'cannot be read, or is another one than it says'
      : !envelope.isSignedBySource
        ? 'is not signed by its account'
        : !checkpoint || checkpoint.size !== anchor.size || !checkpoint.root.equals(anchor.root)
          ? 'is of a checkpoint that is another one than its note'
          : envelope.memoHash?.equals(sha256(checkpoint.note.text)) === true
            ? undefined
            : 'does not carry the hash of its checkpoint';
  if (fault !== undefined) tell('anchor', `the transaction ${anchor.hash} ${fault}`);
}
