import { hash } from 'node:crypto';

/** 32 bytes that are equal for records that name the same identifying identifiers. */
export function evidenceHash(claims: readonly string[]): Buffer {
  return hash('sha256', JSON.stringify([...claims].toSorted()), 'buffer');
}
