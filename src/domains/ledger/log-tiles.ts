import type { Queryable } from '#platform/database.ts';
import { entryOf } from './entry-commitment.ts';
import {
  hashBytes,
  leafHash,
  rootOfPerfect,
  rootOfSubtrees,
  subtreesOf,
  type LeafRange,
  type Subtree,
} from './log-tree.ts';
import { findCommitments, findTileRoots, findTiles, type LogTile } from './log.store.ts';

/**
 * Tiles (C2SP tlog-tiles): the hashes of every eighth level of the tree, 256 in each. Only full ones are stored and none ever
 * changes; what is not full yet follows from the tiles below it, and on the lowest level from the entries.
 */
export const tileHeight = 8;
export const tileWidth = 256;

interface TilePlace {
  readonly level: number;
  readonly number: number;
}

/** How many hashes a level of tiles has in a tree of `size` entries. */
function hashesOfLevel(level: number, size: number): number {
  return Math.floor(size / tileWidth ** level);
}

/** Where tiles are read: from Postgres, and from those that were read before, which never change. */
export interface TileSource {
  readonly queryable: Queryable;
  readonly cache?: TileCache;
}

/** The tiles that were asked for last. */
export class TileCache {
  readonly #tiles = new Map<string, Buffer>();
  readonly #tilesMax: number;

  /** @param tilesMax each has 8 KiB at most. */
  constructor(tilesMax: number) {
    this.#tilesMax = tilesMax;
  }

  get(name: string): Buffer | undefined {
    const tile = this.#tiles.get(name);
    if (!tile) return undefined;
    this.#tiles.delete(name);
    this.#tiles.set(name, tile);
    return tile;
  }

  set(name: string, tile: Buffer): void {
    this.#tiles.set(name, tile);
    if (this.#tiles.size > this.#tilesMax) this.#tiles.delete(this.#tiles.keys().next().value!);
  }
}

/** The hashes of one tile in a tree of `size` entries, fewer than 256 if it is not full; none if it has not begun. */
export async function readTile(source: TileSource, place: TilePlace, size: number): Promise<Buffer> {
  const tiles = await readTiles(source, [place], size);
  return tiles.get(nameOf(place)) ?? Buffer.alloc(0);
}

/** The hashes of ranges in a tree of `size` entries, with one look at all tiles that they need. */
export async function readRangeHashes(
  source: TileSource,
  ranges: readonly LeafRange[],
  size: number,
): Promise<Buffer[]> {
  const subtrees = ranges.map(subtreesOf);
  const places = subtrees.flat().map((subtree) => placeOf(subtree).tile);
  const tiles = await readTiles(source, places, size);
  return subtrees.map((parts) => rootOfSubtrees(parts.map((subtree) => subtreeHash(subtree, tiles))));
}

/** The root of a tree of `size` entries. */
export async function readRoot(source: TileSource, size: number): Promise<Buffer> {
  const [root] = await readRangeHashes(source, [[0, size]], size);
  return root!;
}

function subtreeHash(subtree: Subtree, tiles: ReadonlyMap<string, Buffer>): Buffer {
  const { tile, first, count } = placeOf(subtree);
  const hashes = tiles.get(nameOf(tile))?.subarray(first * hashBytes, (first + count) * hashBytes);
  if (hashes?.length !== count * hashBytes)
    throw new Error(`tile ${tile.level}/${tile.number} of the log has not the hashes that it must have`);
  return rootOfPerfect(hashes);
}

/** The hashes of one tile over which a subtree is. */
function placeOf({ level, index }: Subtree): { tile: TilePlace; first: number; count: number } {
  const tileLevel = Math.floor(level / tileHeight);
  const count = 2 ** (level - tileLevel * tileHeight);
  const first = index * count;
  return {
    tile: { level: tileLevel, number: Math.floor(first / tileWidth) },
    first: first % tileWidth,
    count,
  };
}

function nameOf({ level, number }: TilePlace): string {
  return `${level}/${number}`;
}

async function readTiles(
  { queryable, cache }: TileSource,
  places: readonly TilePlace[],
  size: number,
): Promise<ReadonlyMap<string, Buffer>> {
  const wanted = new Map(places.map((place) => [nameOf(place), { place, width: widthOf(place, size) }]));
  // What is in a tile of some width never changes.
  const cached = ({ place, width }: { place: TilePlace; width: number }) => `${nameOf(place)}.${width}`;
  const tiles = new Map<string, Buffer>();
  const missing = [...wanted.values()].filter((each) => {
    const known = cache?.get(cached(each));
    if (known) tiles.set(nameOf(each.place), known);
    return !known;
  });
  const keep = (place: TilePlace, width: number, hashes: Buffer) => {
    tiles.set(nameOf(place), hashes);
    if (hashes.length === width * hashBytes) cache?.set(cached({ place, width }), hashes);
  };
  const full = missing.filter(({ width }) => width === tileWidth).map(({ place }) => place);
  for (const tile of await findTiles(queryable, full)) keep(tile, tileWidth, tile.hashes);
  for (const { place, width } of missing)
    if (width < tileWidth) keep(place, width, await readOpenTile(queryable, place, size));
  return tiles;
}

function widthOf({ level, number }: TilePlace, size: number): number {
  return Math.min(Math.max(hashesOfLevel(level, size) - number * tileWidth, 0), tileWidth);
}

/** The hashes of a tile that is not full. */
async function readOpenTile(queryable: Queryable, { level, number }: TilePlace, size: number): Promise<Buffer> {
  const begin = number * tileWidth;
  const end = Math.min(begin + tileWidth, hashesOfLevel(level, size));
  return Buffer.concat(
    level === 0
      ? (await findCommitments(queryable, begin, end)).map((commitment) => leafHash(entryOf(commitment)))
      : await findTileRoots(queryable, level - 1, begin, end),
  );
}

/** Makes the tiles of a log that grows, from what its open tiles hold. */
export class TileBuilder {
  /** The hashes of the open tile of each level. */
  readonly #open: Buffer[][];
  /** The number of the open tile of each level. */
  readonly #numbers: number[];

  private constructor(open: Buffer[][], numbers: number[]) {
    this.#open = open;
    this.#numbers = numbers;
  }

  /** A builder for what comes after the first `size` entries. */
  static async at(queryable: Queryable, size: number): Promise<TileBuilder> {
    const open: Buffer[][] = [];
    const numbers: number[] = [];
    for (let [level, known] = [0, size]; known > 0; level += 1, known = Math.floor(known / tileWidth)) {
      const number = Math.floor(known / tileWidth);
      const hashes = known % tileWidth === 0 ? Buffer.alloc(0) : await readOpenTile(queryable, { level, number }, size);
      open.push(splitHashes(hashes));
      numbers.push(number);
    }
    return new TileBuilder(open, numbers);
  }

  /** Takes in the next leaves; gives the tiles that they fill. */
  append(leaves: readonly Buffer[]): LogTile[] {
    const full: LogTile[] = [];
    for (const leaf of leaves) this.#add(0, leaf, full);
    return full;
  }

  #add(level: number, hash: Buffer, full: LogTile[]): void {
    const open = (this.#open[level] ??= []);
    open.push(hash);
    if (open.length < tileWidth) return;
    const hashes = Buffer.concat(open);
    const root = rootOfPerfect(hashes);
    const number = this.#numbers[level] ?? 0;
    full.push({ level, number, hashes, root });
    this.#open[level] = [];
    this.#numbers[level] = number + 1;
    this.#add(level + 1, root, full);
  }
}

function splitHashes(hashes: Buffer): Buffer[] {
  return Array.from({ length: hashes.length / hashBytes }, (_, at) =>
    hashes.subarray(at * hashBytes, (at + 1) * hashBytes),
  );
}
