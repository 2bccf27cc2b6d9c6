import { createHash } from 'node:crypto';
import { CarReader } from '@ipld/car/reader';
import { CarWriter } from '@ipld/car/writer';
import * as dagPb from '@ipld/dag-pb';
import { importer, type ImporterOptions } from 'ipfs-unixfs-importer';
import { CID } from 'multiformats/cid';
import * as raw from 'multiformats/codecs/raw';
import { create as createDigest } from 'multiformats/hashes/digest';

/** A block of a DAG: bytes, and the CID that says what they are. */
export interface Block {
  readonly cid: CID;
  readonly bytes: Uint8Array;
}

/** A DAG whose root is known and whose blocks are all here. */
export interface Dag {
  readonly root: CID;
  readonly blocks: readonly Block[];
}

/**
 * How files and directories become DAGs: the profile `unixfs-v1-2025` of IPIP-499. Files are cut every 1 MiB into raw leaves
 * under balanced nodes of 1,024 links, CIDs are of version 1 with SHA-256; directories over 256 KiB are sharded.
 */
const profile: ImporterOptions = { profile: 'unixfs-v1-2025' };
/** Files of at most so many bytes are one raw block. */
const chunkBytes = 1_048_576;
const sha256Code = 0x12;

/** The CID of content, as whoever has its bytes can compute it. Nothing is asked of anybody. */
export async function addressOf(bytes: Uint8Array): Promise<CID> {
  if (bytes.length <= chunkBytes) return rawAddressOf(bytes);
  return (await fileDag(bytes)).root;
}

function rawAddressOf(bytes: Uint8Array): CID {
  return CID.createV1(raw.code, createDigest(sha256Code, createHash('sha256').update(bytes).digest()));
}

/** The DAG of content. */
export async function fileDag(bytes: Uint8Array): Promise<Dag> {
  return importDag([{ content: one(bytes) }], {});
}

/** The DAG of a directory of files, by their names. */
export async function directoryDag(
  files: readonly { readonly name: string; readonly bytes: Uint8Array }[],
): Promise<Dag> {
  return importDag(
    files.map(({ name, bytes }) => ({ path: name, content: one(bytes) })),
    { wrapWithDirectory: true },
  );
}

async function* one<Value>(value: Value): AsyncGenerator<Value> {
  yield value;
}

async function importDag(
  source: readonly { path?: string; content: AsyncIterable<Uint8Array> }[],
  options: ImporterOptions,
): Promise<Dag> {
  const blocks = new Map<string, Block>();
  const store = {
    put: (cid: CID, bytes: Uint8Array) => {
      blocks.set(cid.toString(), { cid, bytes });
      return cid;
    },
  };
  let root: CID | undefined;
  for await (const entry of importer(source, store, {
    ...profile,
    ...options,
  }))
    root = entry.cid;
  if (!root) throw new Error('there is nothing to import');
  return { root, blocks: [...blocks.values()] };
}

/** A DAG as a CAR of version 1 (https://ipld.io/specs/transport/car/carv1/), the same bytes each time. */
export async function carOf({ root, blocks }: Dag): Promise<Buffer> {
  const { writer, out } = CarWriter.create([root]);
  const chunks: Uint8Array[] = [];
  const reading = (async () => {
    for await (const chunk of out) chunks.push(chunk);
  })();
  for (const block of blocks) await writer.put(block);
  await writer.close();
  await reading;
  return Buffer.concat(chunks);
}

/** What a CAR holds. @throws Error for bytes that are none, or that have not exactly one root. */
export async function readCar(bytes: Uint8Array): Promise<Dag> {
  const reader = await CarReader.fromBytes(bytes);
  const [root, second] = await reader.getRoots();
  if (!root || second) throw new Error('a CAR of one DAG has one root');
  const blocks: Block[] = [];
  for await (const block of reader.blocks()) blocks.push(block);
  return { root, blocks };
}

/** Whether bytes are those of a CID of SHA-256. */
export function isContentOf(cid: CID, bytes: Uint8Array): boolean {
  if (cid.multihash.code !== sha256Code) return false;
  return createHash('sha256').update(bytes).digest().equals(cid.multihash.digest);
}

/** The CIDs that a block names. @throws Error for a codec that is not spoken here, or bytes that are not of it. */
export function linksOf({ cid, bytes }: Block): { readonly name: string; readonly cid: CID }[] {
  if (cid.code === raw.code) return [];
  if (cid.code !== dagPb.code) throw new Error(`${cid.toString()} is neither raw nor dag-pb`);
  return dagPb.decode(bytes).Links.map(({ Name: name, Hash: hash }) => ({ name: name ?? '', cid: hash }));
}

/** A CID by its text; undefined for anything else. */
export function parseAddress(text: string): CID | undefined {
  try {
    return CID.parse(text);
  } catch {
    return undefined;
  }
}
