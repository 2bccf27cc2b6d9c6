import { z } from 'zod';
import type { AccountMemo } from './account-memos.ts';
import { readCheckpoint, type Checkpoint } from './checkpoint.ts';
import { commitmentFrom, commitmentIn, entryOf } from './entry-commitment.ts';
import { followRotations } from './key-rotation.ts';
import { leafHash, nodeHash, rootOfSubtrees, sha256 } from './log-tree.ts';
import { tileWidth } from './log-tiles.ts';
import { isSignedBy, type NoteVerifier } from './signed-note.ts';
import { tileNumberPath } from './tile-path.ts';

/** Reads what is at a path of a log, such as `/log/checkpoint`. */
export type LogReader = (path: string) => Promise<Buffer>;

export interface MirrorOptions {
  readonly read: LogReader;
  readonly keys: readonly NoteVerifier[];
  readonly accounts: readonly string[];
  /** What those accounts put on the ledger, the oldest first; undefined when nobody was asked. */
  readonly memos?: readonly AccountMemo[] | undefined;
  /** A checkpoint that was seen before; the log must still begin with it. */
  readonly seen?: Checkpoint | undefined;
  /** Told how many entries are checked. */
  onProgress?(done: number, total: number): void;
}

/** What a mirror found. */
export interface MirrorReport {
  /** The note of the newest checkpoint, which all entries lead to. */
  readonly note: string;
  readonly size: number;
  readonly origin: string;
  /** Whether a key that the caller trusts signed it. */
  readonly isSigned: boolean;
  /** Anchored checkpoints that the log has at their sizes, and those of them that are of an account that the caller trusts. */
  readonly anchors: number;
  readonly trustedAnchors: number;
  /** Memos on the ledger that are the hash of a checkpoint of this log, and newer ones that it does not show yet. */
  readonly memos: { readonly known: number; readonly newer: number } | undefined;
}

/** Something of the log does not fit; the message says what. */
export class LogFault extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'LogFault';
  }
}

/** The roots of the complete subtrees of a tree that grows, the largest first. */
class GrowingTree {
  readonly #subtrees: { level: number; root: Buffer }[] = [];
  size = 0;

  append(leaf: Buffer): void {
    let node = { level: 0, root: leaf };
    for (let last = this.#subtrees.at(-1); last?.level === node.level; last = this.#subtrees.at(-1)) {
      node = { level: node.level + 1, root: nodeHash(last.root, node.root) };
      this.#subtrees.pop();
    }
    this.#subtrees.push(node);
    this.size += 1;
  }

  root(): Buffer {
    return rootOfSubtrees(this.#subtrees.map(({ root }) => root));
  }
}

/**
 * Reads a whole log by its public tiles, and checks that its entries lead to the checkpoint that it shows, to every one that it
 * anchored, and to the one that was seen before.
 * @throws LogFault naming what does not fit.
 */
export async function mirrorLog(options: MirrorOptions): Promise<MirrorReport> {
  const { read, accounts, seen, onProgress } = options;
  const { note: keys = [], cosignature: witnesses = [] } = Object.groupBy(options.keys, ({ kind }) => kind);
  const note = (await read('/log/checkpoint')).toString('utf8');
  const newest = readCheckpoint(note);
  if (!newest) throw new LogFault('the checkpoint cannot be read');
  const successors = await findSuccessors(read, keys, newest);
  const verdicts = new Set([...keys, ...successors.keys].map((key) => isSignedBy(newest.note, key)));
  if (verdicts.has(false)) throw new LogFault('the signature of the checkpoint is wrong');
  if (keys.length > 0 && !verdicts.has(true)) throw new LogFault('none of the given keys signed the checkpoint');
  for (const witness of witnesses) {
    const isSigned = isSignedBy(newest.note, witness);
    if (isSigned === false) throw new LogFault(`the signature in the name of ${witness.name} is wrong`);
    if (isSigned === undefined) throw new LogFault(`${witness.name} did not sign the newest checkpoint`);
  }
  const anchors = await readAnchors(read, newest.size);
  const wanted: Expected[] = [...anchors, { ...newest, what: 'the newest checkpoint' }];
  if (seen) wanted.push({ ...seen, what: 'the checkpoint that was seen before' });
  await checkRoots(read, wanted, successors.entries, newest, onProgress);
  return {
    note,
    size: newest.size,
    origin: newest.origin,
    isSigned: verdicts.has(true),
    anchors: anchors.length,
    trustedAnchors: anchors.filter(({ source }) => accounts.includes(source)).length,
    memos: options.memos && checkMemos(options.memos, anchors),
  };
}

/**
 * What an account put on the ledger must all be checkpoints that the log shows, and the other way round: a log that told
 * somebody another story had to anchor it, too.
 */
function checkMemos(memos: readonly AccountMemo[], anchors: readonly Anchored[]) {
  const shown = new Set(anchors.map(({ bodyHash }) => bodyHash));
  const onLedger = new Set(memos.map(({ memoHash }) => memoHash.toString('hex')));
  const newest = Math.max(0, ...anchors.map(({ ledger }) => ledger));
  const unknown = memos.filter(({ memoHash }) => !shown.has(memoHash.toString('hex')));
  // The log notes an anchor some seconds after the ledger has it.
  const hidden = unknown.find(({ ledger }) => ledger <= newest);
  if (hidden)
    throw new LogFault(
      `${hidden.account} anchored something in ledger ${hidden.ledger} (${hidden.transactionHash}) that the log does not show`,
    );
  const sources = new Set(memos.map(({ account }) => account));
  const oldest = Math.min(...memos.map(({ ledger }) => ledger));
  const missing = anchors.find(
    ({ bodyHash, ledger, source }) => sources.has(source) && ledger >= oldest && !onLedger.has(bodyHash),
  );
  if (missing) throw new LogFault(`the ledger does not have ${missing.what}`);
  return { known: memos.length - unknown.length, newer: unknown.length };
}

interface Expected extends Checkpoint {
  readonly what: string;
}

interface Anchored extends Expected {
  readonly source: string;
  readonly ledger: number;
  /** SHA-256 of the checkpoint's body, hexadecimal. */
  readonly bodyHash: string;
}

async function checkRoots(
  read: LogReader,
  wanted: readonly Expected[],
  rotations: ReadonlyMap<number, Buffer>,
  { origin, size }: Checkpoint,
  onProgress: MirrorOptions['onProgress'],
): Promise<void> {
  const bySize = Map.groupBy(wanted, (each) => each.size);
  const tree = new GrowingTree();
  const check = () => {
    for (const { what, root, origin: named } of bySize.get(tree.size) ?? []) {
      if (named !== origin) throw new LogFault(`${what} is of another log, ${named}`);
      if (!tree.root().equals(root)) throw new LogFault(`the first ${tree.size} entries do not lead to ${what}`);
    }
    bySize.delete(tree.size);
  };
  check();
  while (tree.size < size) {
    for (const entry of await readEntries(read, tree.size, size)) {
      if (commitmentIn(entry) === undefined) throw new LogFault(`entry ${tree.size} is none of this kind of log`);
      if (rotations.get(tree.size)?.equals(entry) === false)
        throw new LogFault(`entry ${tree.size} does not say that another key took over`);
      tree.append(leafHash(entry));
      check();
    }
    onProgress?.(tree.size, size);
  }
  const [beyond] = [...bySize.values()].flat();
  if (beyond) throw new LogFault(`${beyond.what} has ${beyond.size} entries, and the log has ${size}`);
}

const publishedKeys = z.object({
  keys: z.array(
    z.object({
      statement: z.string().nullable(),
      entry: z
        .object({
          index: z.number().int().nonnegative(),
          fields: z.record(z.string(), z.object({ value: z.unknown(), salt: z.string() })),
          salt: z.string(),
        })
        .nullable(),
    }),
  ),
});

/**
 * Keys to which trusted ones handed over, when none of these signed the checkpoint, and the entries of the log that say so.
 */
async function findSuccessors(
  read: LogReader,
  keys: readonly NoteVerifier[],
  { note, origin }: NonNullable<ReturnType<typeof readCheckpoint>>,
): Promise<{ keys: readonly NoteVerifier[]; entries: ReadonlyMap<number, Buffer> }> {
  const entries = new Map<number, Buffer>();
  if (keys.length === 0 || keys.some((key) => isSignedBy(note, key) !== undefined)) return { keys: [], entries };
  const published = publishedKeys.safeParse(await readJson(read, '/log/keys'));
  // A log that publishes no keys never changed its own.
  if (!published.success) return { keys: [], entries };
  const statements = published.data.keys.flatMap(({ statement }) => statement ?? []);
  const { keys: all, followed } = followRotations(keys, origin, statements);
  for (const { statement, entry } of published.data.keys) {
    if (statement === null || !followed.includes(statement)) continue;
    if (entry?.fields['statement']?.value !== statement)
      throw new LogFault('a key took over without an entry of the log that says so');
    const commitment = Buffer.from(commitmentFrom(entry.fields, Buffer.from(entry.salt, 'hex')), 'hex');
    entries.set(entry.index, entryOf(commitment));
  }
  return { keys: all.slice(keys.length), entries };
}

async function readJson(read: LogReader, path: string): Promise<unknown> {
  try {
    return JSON.parse((await read(path)).toString('utf8')) as unknown;
  } catch {
    return undefined;
  }
}

/** The entries of the tile in which the entry `from` is the first. */
async function readEntries(read: LogReader, from: number, size: number): Promise<Buffer[]> {
  const number = from / tileWidth;
  const width = Math.min(tileWidth, size - from);
  const path = `/log/tile/entries/${tileNumberPath(number)}${width < tileWidth ? `.p/${width}` : ''}`;
  const bundle = await read(path);
  const entries: Buffer[] = [];
  for (let at = 0; at + 2 <= bundle.length && entries.length <= width;) {
    const end = at + 2 + bundle.readUInt16BE(at);
    if (end > bundle.length) break;
    entries.push(bundle.subarray(at + 2, end));
    at = end;
  }
  if (entries.length !== width) throw new LogFault(`${path} has not ${width} entries`);
  return entries;
}

const anchorPage = z.object({
  anchors: z.array(
    z.object({
      checkpoint: z.string(),
      network_passphrase: z.string(),
      source: z.string(),
      envelope_xdr: z.string(),
      hash: z.string(),
      ledger: z.number().int(),
    }),
  ),
  next_cursor: z.string().nullable(),
});

/** The checkpoints that the log says that it anchored; each transaction must carry the hash of its own. */
async function readAnchors(read: LogReader, size: number): Promise<Anchored[]> {
  const { readEnvelope } = await import('./stellar-xdr.ts');
  const found: Anchored[] = [];
  for (let cursor: string | null = ''; cursor !== null;) {
    const parsed = anchorPage.safeParse(parse(await read(`/log/anchors?limit=100${cursor && `&cursor=${cursor}`}`)));
    if (!parsed.success) throw new LogFault('the list of anchors cannot be read');
    for (const anchor of parsed.data.anchors) {
      const checkpoint = readCheckpoint(anchor.checkpoint);
      const envelope = readEnvelope(anchor.envelope_xdr, anchor.network_passphrase);
      const what = `the checkpoint that is anchored with ${anchor.hash}`;
      if (
        !checkpoint ||
        envelope?.hash !== anchor.hash ||
        envelope.source !== anchor.source ||
        !envelope.isSignedBySource
      )
        throw new LogFault(`${what} cannot be read`);
      const bodyHash = sha256(checkpoint.note.text);
      if (envelope.memoHash?.equals(bodyHash) !== true) throw new LogFault(`the transaction does not carry ${what}`);
      if (checkpoint.size > size) throw new LogFault(`${what} has ${checkpoint.size} entries, and the log has ${size}`);
      found.push({
        ...checkpoint,
        what,
        source: anchor.source,
        ledger: anchor.ledger,
        bodyHash: bodyHash.toString('hex'),
      });
    }
    cursor = parsed.data.next_cursor;
  }
  return found;
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}
