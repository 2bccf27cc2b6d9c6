import type pg from 'pg';
import { findCoveringAnchors, type ConfirmedAnchorRow } from './anchors.store.ts';
import { entryOf } from './entry-commitment.ts';
import type { ProofBundle } from './ledger.schema.ts';
import { readRangeHashes, readRoot, TileCache, type TileSource } from './log-tiles.ts';
import { inclusionRanges } from './log-tree.ts';
import { findCheckpoint, readLogState, type ProvenEventRow, type ProvenVersionRow } from './log.store.ts';
import { discloseEvent } from './logged-event.ts';
import { discloseVersion } from './logged-version.ts';

/** An entry with what it is about. */
type ProvenRow = ProvenEventRow | ProvenVersionRow;

/** What proofs are about: a size of the log, with the note that says so if it is signed. */
export interface Tree {
  readonly size: number;
  readonly root: Buffer;
  readonly note: string | null;
}

/** 4 MiB at most. */
const cachedTilesMax = 512;

/** Builds proofs from the log of a database. */
export function makeProver(pool: pg.Pool) {
  const tiles: TileSource = { queryable: pool, cache: new TileCache(cachedTilesMax) };

  /** The tree that proofs are about: the newest that is signed, else all that is committed. */
  const readTree = async (): Promise<Tree> => {
    const checkpoint = await findCheckpoint(pool);
    if (checkpoint) return { size: checkpoint.size, root: checkpoint.root, note: checkpoint.note };
    const { size } = await readLogState(pool);
    return { size, root: await readRoot(tiles, size), note: null };
  };

  /** Each proof is about the smallest anchored checkpoint that covers the entry, else about the newest that is signed. */
  const prove = async (
    rows: readonly ProvenRow[],
    newest: Tree,
    isShown: (field: string) => boolean = () => true,
  ): Promise<ProofBundle[]> => {
    const anchors = await findCoveringAnchors(
      pool,
      rows.map(({ index }) => index),
    );
    const treeOf = ({ index }: ProvenRow): Tree => anchors.get(index) ?? newest;
    const bundles = new Map<ProvenRow, ProofBundle>();
    for (const [size, together] of Map.groupBy(rows, (row) => treeOf(row).size)) {
      const paths = together.map(({ index }) => inclusionRanges(index, size));
      const hashes = await readRangeHashes(tiles, paths.flat(), size);
      let at = 0;
      together.forEach((row, place) => {
        const inclusion = hashes.slice(at, (at += paths[place]!.length));
        bundles.set(row, bundleOf(row, inclusion, treeOf(row), anchors.get(row.index), isShown));
      });
    }
    return rows.map((row) => bundles.get(row)!);
  };

  return { tiles, readTree, prove };
}

function bundleOf(
  row: ProvenRow,
  inclusion: readonly Buffer[],
  { size, root, note }: Tree,
  anchor: ConfirmedAnchorRow | undefined,
  isShown: (field: string) => boolean,
): ProofBundle {
  return {
    format: 'defarm-proof-v1',
    entry: entryOf(row.commitment).toString('base64'),
    ...discloseRow(row, isShown),
    index: row.index,
    inclusion: inclusion.map((hash) => hash.toString('base64')),
    checkpoint: note,
    tree_size: size,
    root: root.toString('base64'),
    anchor: anchor ? showAnchor(anchor) : null,
  };
}

/** What the salts show; nothing once they or the content were erased. */
function discloseRow(row: ProvenRow, isShown: (field: string) => boolean): Pick<ProofBundle, 'fields' | 'salt'> {
  if (row.seed === null) return {};
  return 'event_id' in row ? discloseEvent(row, row.seed) : discloseVersion(row, row.seed, isShown);
}

/** An anchored checkpoint as proofs show it. */
export function showAnchor(row: ConfirmedAnchorRow) {
  return {
    network_passphrase: row.network_passphrase,
    source: row.source,
    envelope_xdr: row.envelope_xdr,
    hash: row.hash,
    ledger: row.ledger,
    closed_at: row.closed_at.toISOString(),
  };
}
