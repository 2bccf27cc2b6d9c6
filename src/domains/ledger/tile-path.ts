import { tileWidth } from './log-tiles.ts';

/** A tile, or the entries under one, that is asked for, and how many hashes or entries of it. */
export interface TilePath {
  readonly level: number | 'entries';
  readonly number: number;
  readonly width: number;
}

const pattern = /^(entries|[0-9]|[1-5][0-9]|6[0-3])\/((?:x\d{3}\/)*\d{3})(?:\.p\/([1-9]\d{0,2}))?$/;

/**
 * Reads the path of a tile below `/log/tile/` (C2SP tlog-tiles): the level or `entries`, the number in groups of three
 * digits, all but the last with an `x` in front, and `.p/<width>` for one that is not full. Undefined if it is none.
 */
export function readTilePath(path: string): TilePath | undefined {
  const [, level, groups = '', width] = pattern.exec(path) ?? [];
  if (level === undefined) return undefined;
  const number = Number(groups.replaceAll(/x|\//g, ''));
  const isShortest = groups === tileNumberPath(number);
  const wide = width === undefined ? tileWidth : Number(width);
  if (!Number.isSafeInteger(number) || !isShortest || (width !== undefined && wide >= tileWidth)) return undefined;
  return { level: level === 'entries' ? level : Number(level), number, width: wide };
}

/** The number of a tile as its path has it: 1234067 is `x001/x234/067`. */
export function tileNumberPath(number: number): string {
  const digits = String(number);
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, '0').match(/\d{3}/g)!;
  return groups.map((group, at) => (at < groups.length - 1 ? `x${group}` : group)).join('/');
}
