import { createHash, hash } from 'node:crypto';
import { canonicalJson } from '#platform/json/canonical.ts';

/**
 * What the log says of something that happened: nothing but a commitment, from which nobody learns what it was. Each field
 * has a digest with a salt of its own, so that one can be shown without the others:
 *
 *     digest(name) = SHA-256("defarm-field-v1\0" ‖ salt(name) ‖ JCS([name, value]))
 *     commitment   = SHA-256("defarm-entry-v1\0" ‖ salt ‖ JCS({name: hex(digest(name)), …}))
 *     entry        = JCS({"c": hex(commitment), "v": 1})
 *
 * All salts of an entry, 32 bytes each, come from one seed: SHAKE256(seed) gives first the salt of the entry, then those of
 * its fields in the order of their names. Who is shown a salt learns nothing of the seed or of the others.
 */
export type EntryFields = Readonly<Record<string, unknown>>;

/** 32 random bytes. Without them nobody can tell any longer what was committed to. */
export type EntrySeed = Uint8Array;

const saltBytes = 32;
export const seedBytes = 32;
const fieldPrefix = Buffer.from('defarm-field-v1\0');
const entryPrefix = Buffer.from('defarm-entry-v1\0');

/** A field that is shown, or of which only the digest is. */
export type ShownField = { readonly value: unknown; readonly salt: string } | { readonly digest: string };

/** The commitment to fields, 32 bytes. */
export function commitmentTo(fields: EntryFields, seed: EntrySeed): Buffer {
  const names = Object.keys(fields).toSorted();
  const salts = saltsOf(seed, names.length);
  let digests = '';
  names.forEach((name, at) => {
    const digest = fieldDigest(name, fields[name], salts, (at + 1) * saltBytes);
    digests += `${at === 0 ? '' : ','}${quoted(name)}:"${digest}"`;
  });
  return Buffer.from(commitmentOf(`{${digests}}`, salts), 'hex');
}

/** The bytes of the log entry with a commitment. */
export function entryOf(commitment: Uint8Array): Buffer {
  return Buffer.from(`{"c":"${Buffer.from(commitment).toString('hex')}","v":1}`, 'latin1');
}

/** The commitment in the bytes of a log entry; undefined if they are none of this form. */
export function commitmentIn(entry: Uint8Array): string | undefined {
  return /^\{"c":"([0-9a-f]{64})","v":1\}$/.exec(Buffer.from(entry).toString('latin1'))?.[1];
}

/** All that shows what was committed to; `isShown` says which fields. */
export function disclose(
  fields: EntryFields,
  seed: EntrySeed,
  isShown: (name: string) => boolean = () => true,
): { fields: Record<string, ShownField>; salt: string } {
  const names = Object.keys(fields).toSorted();
  const salts = saltsOf(seed, names.length);
  const shown = names.map((name, at): [string, ShownField] => {
    const salt = salts.subarray((at + 1) * saltBytes, (at + 2) * saltBytes);
    return [
      name,
      isShown(name)
        ? { value: fields[name], salt: salt.toString('hex') }
        : { digest: fieldDigest(name, fields[name], salt) },
    ];
  });
  return { fields: Object.fromEntries(shown), salt: salts.toString('hex', 0, saltBytes) };
}

/** The commitment that shown fields and digests of the others lead to, in hex. */
export function commitmentFrom(fields: Readonly<Record<string, ShownField>>, salt: Uint8Array): string {
  const digests = Object.fromEntries(
    Object.entries(fields).map(([name, field]) => [
      name,
      'digest' in field ? field.digest : fieldDigest(name, field.value, Buffer.from(field.salt, 'hex')),
    ]),
  );
  return commitmentOf(canonicalJson(digests), salt);
}

function commitmentOf(digests: string, salt: Uint8Array): string {
  return saltedHash(entryPrefix, salt, 0, digests);
}

function fieldDigest(name: string, value: unknown, salts: Uint8Array, at = 0): string {
  // As JCS writes the array, without the cost of a walk through it.
  return saltedHash(fieldPrefix, salts, at, `[${quoted(name)},${canonicalJson(value)}]`);
}

const quotedNames = new Map<string, string>();

/** A name as JSON; those of what this log holds are few and always the same. */
function quoted(name: string): string {
  const known = quotedNames.get(name);
  if (known !== undefined) return known;
  const text = canonicalJson(name);
  if (quotedNames.size < 100) quotedNames.set(name, text);
  return text;
}

/** Most of what is hashed is short, and a log hashes much of it: it needs no memory of its own. */
const scratch = Buffer.allocUnsafe(4096);

/** SHA-256(prefix ‖ salt ‖ text) in hex; the salt are 32 bytes from `at`. */
function saltedHash(prefix: Buffer, salts: Uint8Array, at: number, text: string): string {
  const salt = salts.subarray(at, at + saltBytes);
  const head = prefix.length + saltBytes;
  // No character takes more than three bytes of UTF-8 for each of its units in a string.
  if (head + text.length * 3 > scratch.length)
    return hash('sha256', Buffer.concat([prefix, salt, Buffer.from(text)]), 'hex');
  scratch.set(prefix);
  scratch.set(salt, prefix.length);
  return hash('sha256', scratch.subarray(0, head + scratch.write(text, head)), 'hex');
}

function saltsOf(seed: EntrySeed, fields: number): Buffer {
  return createHash('shake256', { outputLength: (fields + 1) * saltBytes })
    .update(seed)
    .digest();
}
