import { Problem } from '#platform/errors.ts';
import type { Database, Queryable } from '#platform/database.ts';
import { isUuid } from '#platform/ids.ts';
import { decodeCursor, encodeCursor } from '#platform/page.ts';
import type { ItemsService } from '#domains/items/index.ts';
import { readCheckpoint } from './checkpoint.ts';
import { disclose, entryOf } from './entry-commitment.ts';
import type { ProofBundle } from './ledger.schema.ts';
import { consistencyRanges, inclusionRanges } from './log-tree.ts';
import { readRangeHashes, readRoot, readTile, tileWidth } from './log-tiles.ts';
import {
  findCheckpoint,
  findCommitments,
  findProvenEvent,
  findProvenEvents,
  readLogState,
  type ProvenEventRow,
} from './log.store.ts';
import { fieldsOfEvent } from './logged-event.ts';
import type { TilePath } from './tile-path.ts';

interface LedgerServiceOptions {
  database: Database;
  items: ItemsService;
  /** The verifier key of the log; undefined when this installation signs nothing. */
  verifierKey: string | undefined;
}

export type LedgerService = ReturnType<typeof makeLedgerService>;

/** Shows the log to everybody, and to a workspace the proofs of what it was told. */
export function makeLedgerService({ database: { pool }, items, verifierKey }: LedgerServiceOptions) {
  /** The tree that proofs are about: the newest that is signed, else all that is committed. */
  const readTree = async () => {
    const checkpoint = await findCheckpoint(pool);
    if (checkpoint) return { size: checkpoint.size, root: checkpoint.root, note: checkpoint.note };
    const { size } = await readLogState(pool);
    return { size, root: await readRoot(pool, size), note: null };
  };

  const prove = async (rows: readonly ProvenEventRow[], tree: Awaited<ReturnType<typeof readTree>>) => {
    const paths = rows.map(({ index }) => inclusionRanges(index, tree.size));
    const hashes = await readRangeHashes(pool, paths.flat(), tree.size);
    let at = 0;
    return rows.map((row, place) => bundleOf(row, hashes.slice(at, (at += paths[place]!.length)), tree));
  };

  return {
    /** The newest signed checkpoint, a signed note; undefined when there is none. */
    checkpoint: async () => (await findCheckpoint(pool))?.note,

    verifierKey,

    async state() {
      const { size, refusal } = await readLogState(pool);
      const checkpoint = await findCheckpoint(pool);
      const read = checkpoint && readCheckpoint(checkpoint.note);
      return {
        origin: read?.origin ?? null,
        size,
        signed_size: checkpoint?.size ?? null,
        signed_at: checkpoint?.signed_at.toISOString() ?? null,
        verifier_key: verifierKey ?? null,
        anchored: false as const,
        state: stateInWords(checkpoint?.size, refusal),
      };
    },

    /** The bytes of a tile or of the entries under it; undefined for one that is not there, or not as wide. */
    async tile({ level, number, width }: TilePath): Promise<Buffer | undefined> {
      const { size } = await readLogState(pool);
      const begin = number * tileWidth;
      const available = Math.floor(size / (level === 'entries' ? 1 : tileWidth ** level));
      if (begin + width > available) return undefined;
      if (level !== 'entries') return readTile(pool, { level, number }, (begin + width) * tileWidth ** level);
      return Buffer.concat((await findCommitments(pool, begin, begin + width)).map((each) => entryWithLength(each)));
    },

    /** @throws Problem not_found for sizes that the log never had. */
    async consistency(from: number, to: number | undefined) {
      const { size } = await readLogState(pool);
      const end = to ?? (await findCheckpoint(pool))?.size ?? size;
      if (from > end || end > size)
        throw new Problem('not_found', `the log has ${size} entries, and from is at most to`);
      const proof = await readRangeHashes(pool, consistencyRanges(from, end), end);
      return {
        from,
        to: end,
        from_root: (await readRoot(pool, from)).toString('base64'),
        to_root: (await readRoot(pool, end)).toString('base64'),
        proof: proof.map((hash) => hash.toString('base64')),
      };
    },

    /** Proofs of what a workspace was told of an item, the newest first. */
    async proveItem(workspaceId: string, dfid: string, page: { limit: number; cursor?: string | undefined }) {
      const tree = await readTree();
      const { itemNumbers, dfid: current } = await items.membersOf(workspaceId, dfid);
      const before = Number(decodeCursor(page.cursor, 'number') ?? Number.MAX_SAFE_INTEGER);
      const rows = await findProvenEvents(pool, workspaceId, itemNumbers, {
        size: tree.size,
        before,
        limit: page.limit,
      });
      return {
        dfid: current,
        proofs: await prove(rows, tree),
        next_cursor: rows.length === page.limit ? encodeCursor(String(rows.at(-1)!.index)) : null,
        state: await proofInWords(pool, rows.length > 0, tree.note !== null),
      };
    },

    /** @throws Problem not_found, also for an event that is not in the signed log yet. */
    async proveEvent(workspaceId: string, eventId: string): Promise<ProofBundle> {
      const tree = await readTree();
      const row = isUuid(eventId) ? await findProvenEvent(pool, workspaceId, eventId) : undefined;
      if (!row || row.index >= tree.size) throw notLogged();
      return (await prove([row], tree))[0]!;
    },

    /**
     * The proof of the last thing that a workspace was told of an item.
     * @throws Problem not_found, also when nothing of it is in the signed log yet.
     */
    async proveLatest(workspaceId: string, dfid: string): Promise<ProofBundle> {
      const tree = await readTree();
      const { itemNumbers } = await items.membersOf(workspaceId, dfid);
      const page = { size: tree.size, before: Number.MAX_SAFE_INTEGER, limit: 1 };
      const rows = await findProvenEvents(pool, workspaceId, itemNumbers, page);
      if (rows.length === 0) throw notLogged();
      return (await prove(rows, tree))[0]!;
    },
  };
}

function bundleOf(
  row: ProvenEventRow,
  inclusion: readonly Buffer[],
  { size, root, note }: { size: number; root: Buffer; note: string | null },
): ProofBundle {
  return {
    format: 'defarm-proof-v1',
    entry: entryOf(row.commitment).toString('base64'),
    ...(row.seed ? disclose(fieldsOfEvent(row), row.seed) : {}),
    index: row.index,
    inclusion: inclusion.map((hash) => hash.toString('base64')),
    checkpoint: note,
    tree_size: size,
    root: root.toString('base64'),
    anchor: null,
  };
}

/** An entry as the tiles of entries have it: its length in two bytes, and itself (C2SP tlog-tiles). */
function entryWithLength(commitment: Buffer): Buffer {
  const entry = entryOf(commitment);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(entry.length);
  return Buffer.concat([length, entry]);
}

function notLogged(): Problem {
  return new Problem(
    'not_found',
    'nothing of this is in the signed log yet, or there is no such thing that you may see',
  );
}

const notAnchored = 'Checkpoints are not anchored on a public ledger.';

function stateInWords(signedSize: number | undefined, refusal: string | null): string {
  if (refusal !== null) return `Nothing is signed: ${refusal}.`;
  if (signedSize === undefined) return `No checkpoint is signed. ${notAnchored}`;
  return `The first ${signedSize} entries are signed. ${notAnchored}`;
}

async function proofInWords(queryable: Queryable, isLogged: boolean, isSigned: boolean): Promise<string> {
  if (!isLogged) return `Nothing of this item is in the log yet. ${notAnchored}`;
  if (isSigned) return `What is shown is in the signed log. ${notAnchored}`;
  const { refusal } = await readLogState(queryable);
  return `What is shown is in the log, which is not signed${refusal === null ? '' : `: ${refusal}`}. ${notAnchored}`;
}
