import { randomBytes } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type pg from 'pg';
import type { ContentMaker, StartContents } from '#domains/storage/index.ts';
import { withTransaction } from '#platform/database.ts';
import { entryOf, seedBytes } from './entry-commitment.ts';
import { leafHash } from './log-tree.ts';
import { TileBuilder } from './log-tiles.ts';
import {
  growLog,
  insertItemVersions,
  insertLogEntries,
  insertTiles,
  lockLog,
  takeFeed,
  type FedRow,
  type LoggedVersionRow,
  type NewLogEntry,
} from './log.store.ts';
import { commitToEvent } from './logged-event.ts';
import { commitToVersion, loggedContent } from './logged-version.ts';

/** What one transaction takes in: so many steps, each of so many events and bytes of payload at most. */
export interface SequencingLimits {
  readonly steps: number;
  readonly rows: number;
  readonly bytes: number;
}

/**
 * Makes the next entries of the log, of events that are committed and of the versions that their items have by then, in one
 * transaction: each once, without a gap, by one process at a time. What an entry costs does not depend on how many there are.
 * @param pool pipelining connections: Postgres reads the next events and writes the last entries while this process hashes.
 * @returns how many entries were made, and whether there are more to make; undefined when another process is at it.
 */
export function sequenceEvents(
  pool: pg.Pool,
  limits: SequencingLimits,
  startContents: StartContents,
): Promise<{ entries: number; hasMore: boolean } | undefined> {
  return withTransaction(pool, async (client) => {
    const before = await lockLog(client);
    if (before === undefined) return undefined;
    const tiles = await TileBuilder.at(client, before);
    const writes: Promise<unknown>[] = [];
    const contents = await startContents(client);
    const logged: LoggedVersions = new Map();
    let size = before;
    const take = () => {
      const taking = takeFeed(client, limits);
      // A failure is thrown where it is awaited, which may be later than it happens.
      taking.catch(() => {});
      return taking;
    };
    let taking = take();
    let hasMore = true;
    for (let step = 1; hasMore && step <= limits.steps; step += 1) {
      const taken = await taking;
      hasMore = taken.hasMore;
      if (hasMore && step < limits.steps) taking = take();
      // What was asked for leaves this process only when it has nothing else to do.
      await nextTurn();
      const { entries, versions } = await entriesOf(taken.rows, size, logged, contents);
      const leaves = entries.map(({ commitment }) => leafHash(entryOf(commitment)));
      const written = Promise.all([
        insertLogEntries(client, entries),
        insertItemVersions(client, versions),
        contents.write(client),
        insertTiles(client, tiles.append(leaves)),
      ]);
      written.catch(() => {});
      writes.push(written);
      size += entries.length;
    }
    await Promise.all(writes);
    if (size > before) await growLog(client, before, size);
    return { entries: size - before, hasMore };
  });
}

/** Versions of items that this transaction logged, by workspace and item: the feed does not tell which they are. */
type LoggedVersions = Map<string, number>;

/** The next entries of the log, each event before the version of its item. */
async function entriesOf(rows: readonly FedRow[], size: number, logged: LoggedVersions, contents: ContentMaker) {
  const entries: NewLogEntry[] = [];
  const versions: { index: number; version: LoggedVersionRow }[] = [];
  const seeds = randomBytes(seedBytes * rows.length * 2);
  const add = (subject: NewLogEntry['subject'], commit: (seed: Buffer) => Buffer): number => {
    const seed = seeds.subarray(entries.length * seedBytes, (entries.length + 1) * seedBytes);
    const index = size + entries.length;
    entries.push({ index, subject, commitment: commit(seed), seed });
    return index;
  };
  for (const { event, version } of rows) {
    if (event) add(event, (seed) => commitToEvent(event, seed));
    if (version && isNewVersion(version, logged)) {
      const { status, state, ...row } = version;
      const { content, text } = await loggedContent(row, status, state, contents);
      const { workspace_id, item_number } = row;
      const index = add({ workspace_id, item_number }, (seed) => commitToVersion(row, content, seed));
      versions.push({ index, version: { ...row, content: text } });
    }
  }
  return { entries, versions };
}

function isNewVersion(
  { workspace_id: workspaceId, item_number: itemNumber, version }: NonNullable<FedRow['version']>,
  logged: LoggedVersions,
): boolean {
  const key = `${workspaceId} ${itemNumber}`;
  if ((logged.get(key) ?? 0) >= version) return false;
  logged.set(key, version);
  return true;
}
