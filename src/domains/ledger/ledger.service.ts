import { Problem } from '#platform/errors.ts';
import { withTransaction, type Database } from '#platform/database.ts';
import { isUuid } from '#platform/ids.ts';
import { decodeCursor, encodeCursor } from '#platform/page.ts';
import type { ItemsService } from '#domains/items/index.ts';
import { alarmInWords, balanceOf } from './anchor-balance.ts';
import { listConfirmedAnchors, type ConfirmedAnchorRow } from './anchors.store.ts';
import { readCheckpoint } from './checkpoint.ts';
import { disclose, entryOf } from './entry-commitment.ts';
import { fieldsOfRotation } from './key-rotation.ts';
import { listLogKeys } from './log-keys.store.ts';
import type { ProofBundle } from './ledger.schema.ts';
import { consistencyRanges } from './log-tree.ts';
import { makeProver, showAnchor } from './prove-entries.ts';
import { readRangeHashes, readRoot, readTile, tileWidth } from './log-tiles.ts';
import {
  findCheckpoint,
  findCommitments,
  findProvenEvent,
  findProvenEvents,
  findProvenVersion,
  readLogState,
  type LogStateRow,
} from './log.store.ts';
import { networkInWords } from './stellar-networks.ts';
import type { TilePath } from './tile-path.ts';
import { listWitnesses } from './witnesses/witnesses.store.ts';

interface LedgerServiceOptions {
  database: Database;
  items: ItemsService;
  /** What one anchor may cost. */
  maxFeeStroops: number;
  /** The verifier key of the log; undefined when this installation signs nothing. */
  verifierKey: string | undefined;
}

/** What a proof for everybody shows of a version; the content at its address says the rest. */
const publicFields: ReadonlySet<string> = new Set(['cid', 'dfid', 'kind', 'recorded_at', 'version']);
export type LedgerService = ReturnType<typeof makeLedgerService>;

/** Shows the log to everybody, and to a workspace the proofs of what it was told. */
export function makeLedgerService({ database: { pool }, items, maxFeeStroops, verifierKey }: LedgerServiceOptions) {
  const { tiles, readTree, prove } = makeProver(pool);

  const describe = async (isLogged: boolean) => {
    const state = await readLogState(pool);
    const [anchor] = await listConfirmedAnchors(pool, { before: Number.MAX_SAFE_INTEGER, limit: 1 });
    const signature = signatureInWords((await findCheckpoint(pool))?.size, state);
    return `${isLogged ? '' : 'Nothing of this item is in the log yet. '}${signature} ${anchorInWords(anchor, state)}`;
  };

  return {
    /** Anchored checkpoints, the newest first. */
    async anchors(page: { limit: number; cursor?: string | undefined }) {
      const before = Number(decodeCursor(page.cursor, 'number') ?? Number.MAX_SAFE_INTEGER);
      const rows = await listConfirmedAnchors(pool, { before, limit: page.limit });
      return {
        anchors: rows.map((row) => ({ size: row.size, checkpoint: row.note, ...showAnchor(row) })),
        next_cursor: rows.length === page.limit ? encodeCursor(String(rows.at(-1)!.size)) : null,
      };
    },

    /** The newest signed checkpoint, a signed note; undefined when there is none. */
    checkpoint: async () => (await findCheckpoint(pool))?.note,

    verifierKey,

    /** The keys that signed the log, each with the entries that it signed and how it took over. */
    async keys() {
      const rows = await listLogKeys(pool);
      return {
        keys: rows.map(({ verifier_key: key, from_size: fromSize, statement, index, seed }, at) => ({
          verifier_key: key,
          from_size: fromSize,
          until_size: rows[at + 1]?.from_size ?? null,
          statement,
          entry:
            statement !== null && seed && index !== null
              ? { index, ...disclose(fieldsOfRotation(statement), seed) }
              : null,
        })),
      };
    },

    async state() {
      const state = await readLogState(pool);
      const { size } = state;
      const checkpoint = await findCheckpoint(pool);
      const [anchor] = await listConfirmedAnchors(pool, { before: Number.MAX_SAFE_INTEGER, limit: 1 });
      const read = checkpoint && readCheckpoint(checkpoint.note);
      const balance = balanceOf(state, maxFeeStroops);
      return {
        origin: read?.origin ?? null,
        size,
        signed_size: checkpoint?.size ?? null,
        signed_at: checkpoint?.signed_at.toISOString() ?? null,
        verifier_key: verifierKey ?? null,
        anchored_size: anchor?.size ?? null,
        network: anchor?.network_passphrase ?? null,
        anchor_account: balance
          ? { address: balance.account, balance_xlm: balance.lumens, anchors_left: balance.anchorsLeft }
          : null,
        witnesses: (await listWitnesses(pool)).map(({ verifier_key: key, size: signedSize, refusal }) => ({
          name: key.slice(0, key.indexOf('+')),
          size: signedSize,
          refusal,
        })),
        state: [signatureInWords(checkpoint?.size, state), anchorInWords(anchor, state), alarmInWords(balance) ?? []]
          .flat()
          .join(' '),
      };
    },

    /** The bytes of a tile or of the entries under it; undefined for one that is not there, or not as wide. */
    async tile({ level, number, width }: TilePath): Promise<Buffer | undefined> {
      const { size } = await readLogState(pool);
      const begin = number * tileWidth;
      const available = Math.floor(size / (level === 'entries' ? 1 : tileWidth ** level));
      if (begin + width > available) return undefined;
      if (level !== 'entries') return readTile(tiles, { level, number }, (begin + width) * tileWidth ** level);
      return Buffer.concat((await findCommitments(pool, begin, begin + width)).map((each) => entryWithLength(each)));
    },

    /** @throws Problem not_found for sizes that the log never had. */
    async consistency(from: number, to: number | undefined) {
      const { size } = await readLogState(pool);
      const end = to ?? (await findCheckpoint(pool))?.size ?? size;
      if (from > end || end > size)
        throw new Problem('not_found', `the log has ${size} entries, and from is at most to`);
      const proof = await readRangeHashes(tiles, consistencyRanges(from, end), end);
      return {
        from,
        to: end,
        from_root: (await readRoot(tiles, from)).toString('base64'),
        to_root: (await readRoot(tiles, end)).toString('base64'),
        proof: proof.map((hash) => hash.toString('base64')),
      };
    },

    /** Proofs of what an item is to a workspace, and of what it was told of it, the newest first. */
    async proveItem(workspaceId: string, dfid: string, page: { limit: number; cursor?: string | undefined }) {
      const tree = await readTree();
      const { itemNumbers, dfid: current } = await items.membersOf(workspaceId, dfid);
      const wanted = { size: tree.size, before: decodeCursor(page.cursor, 'uuid'), limit: page.limit };
      const rows = await withTransaction(pool, (client) => findProvenEvents(client, workspaceId, itemNumbers, wanted));
      const version = await findProvenVersion(pool, workspaceId, itemNumbers, { size: tree.size, version: undefined });
      return {
        dfid: current,
        version: version ? (await prove([version], tree))[0]! : null,
        proofs: await prove(rows, tree),
        next_cursor: rows.length === page.limit ? encodeCursor(rows.at(-1)!.event_id) : null,
        state: await describe(rows.length > 0 || version !== undefined),
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
     * The proof that a version of an item is in the log, which shows of it nothing but what is public; undefined when it is
     * not in the signed log.
     */
    async provePublicly(workspaceId: string, itemNumber: number, version: number): Promise<ProofBundle | undefined> {
      const tree = await readTree();
      const row = await findProvenVersion(pool, workspaceId, [itemNumber], { size: tree.size, version });
      return row && (await prove([row], tree, (field) => publicFields.has(field)))[0];
    },

    /**
     * The proof of a version of an item, of the newest one without a number.
     * @throws Problem not_found, also when it is not in the signed log yet.
     */
    async proveVersion(workspaceId: string, dfid: string, version: number | undefined): Promise<ProofBundle> {
      const tree = await readTree();
      // A version belongs to the item that is named, and not to those that are one with it now.
      const itemNumbers =
        version === undefined
          ? (await items.membersOf(workspaceId, dfid)).itemNumbers
          : [await items.ownNumberOf(workspaceId, dfid)];
      const row = await findProvenVersion(pool, workspaceId, itemNumbers, { size: tree.size, version });
      if (!row) throw notLogged();
      return (await prove([row], tree))[0]!;
    },
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

function signatureInWords(signedSize: number | undefined, { refusal }: LogStateRow): string {
  if (refusal !== null) return `Nothing is signed: ${refusal}.`;
  return signedSize === undefined
    ? 'No checkpoint is signed; LOG_SIGNING_KEY is what signs.'
    : `Entries that are signed: the first ${signedSize}.`;
}

function anchorInWords(anchor: ConfirmedAnchorRow | undefined, { anchor_refusal: refusal }: LogStateRow): string {
  const why = refusal === null ? '' : ` Nothing is anchored at the moment: ${refusal}.`;
  if (!anchor) return `Checkpoints are not anchored on a public ledger.${why}`;
  return `Anchored: the first ${anchor.size}, on ${networkInWords(anchor.network_passphrase)}.${why}`;
}
