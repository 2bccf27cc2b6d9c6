import { exporter } from 'ipfs-unixfs-exporter';
import type { CID } from 'multiformats/cid';
import type { Queryable } from '#platform/database.ts';
import { Problem } from '#platform/errors.ts';
import { carOf, directoryDag, fileDag, isContentOf, linksOf, parseAddress, type Block } from './content-address.ts';
import type { LocalBlocks } from './adapters/local-adapter.ts';
import { findBatchByRoot, findBatchContents } from './batches.store.ts';
import { findContentBytes } from './contents.store.ts';
import { fileName } from './storage-work.ts';

interface GatewayOptions {
  queryable: Queryable;
  /** Undefined where nothing is stored in a folder of this machine. */
  local: LocalBlocks | undefined;
}

/** What a gateway gives of stored content. */
export type GatewayFormat = 'raw' | 'car' | 'file';

export interface GatewayAnswer {
  readonly root: CID;
  readonly bytes: Buffer;
}

/** What one answer holds at most, in bytes. */
const answerBytesMax = 33_554_432;
/** Answers that are made at the same time, and requests that wait for one of them. Anybody may ask. */
const answersAtOnce = 2;
const waitingMax = 64;

export type IpfsGateway = ReturnType<typeof makeIpfsGateway>;

/**
 * Gives what was stored by its address, as a trustless gateway does (https://specs.ipfs.tech/http-gateways/trustless-gateway/).
 * Nothing is given whose hash is not that of its CID, wherever it was read.
 */
export function makeIpfsGateway({ queryable, local }: GatewayOptions) {
  /** All blocks of what the database keeps under an address: a content, or the directory that a batch is. */
  const readKept = async (cid: CID): Promise<readonly Block[] | undefined> => {
    const text = cid.toV1().toString();
    const content = await findContentBytes(queryable, text);
    if (content) return (await fileDag(content)).blocks;
    const batchId = await findBatchByRoot(queryable, text);
    if (batchId === undefined) return undefined;
    const contents = await findBatchContents(queryable, batchId);
    const files = contents.flatMap(({ cid: name, bytes }) => (bytes ? [{ name: fileName(name), bytes }] : []));
    return (await directoryDag(files)).blocks;
  };

  /** Reads the blocks of one DAG: from the folder of this machine as far as they are there, else from the database. */
  const openDag = (root: CID): ReadBlock => {
    let kept: Promise<ReadonlyMap<string, Uint8Array>> | undefined;
    const loadKept = async () => {
      const blocks = await readKept(root);
      return new Map((blocks ?? []).map((block) => [hashOf(block.cid), block.bytes]));
    };
    return async (cid) => {
      // A block that was changed on the disk is as good as none; the check of what is stored mends it.
      const found = await local?.read(cid).catch(() => undefined);
      if (found) return found;
      kept ??= loadKept();
      const bytes = (await kept).get(hashOf(cid));
      return bytes && isContentOf(cid, bytes) ? bytes : undefined;
    };
  };

  /** All blocks under a root, each before those that it names; undefined when one is missing. */
  const readDag = async (root: CID): Promise<Block[] | undefined> => {
    const read = openDag(root);
    const blocks = new Map<string, Block>();
    const waiting = [root];
    let sizeBytes = 0;
    for (let cid = waiting.shift(); cid; cid = waiting.shift()) {
      if (blocks.has(cid.toString())) continue;
      const bytes = await read(cid);
      sizeBytes += bytes?.length ?? 0;
      if (!bytes || sizeBytes > answerBytesMax) return undefined;
      const block = { cid, bytes };
      blocks.set(cid.toString(), block);
      waiting.push(...linksOf(block).map((link) => link.cid));
    }
    return [...blocks.values()];
  };

  const readFile = async (root: CID, path: readonly string[]): Promise<GatewayAnswer | undefined> => {
    const read = openDag(root);
    const store = {
      async *get(wanted: CID) {
        const bytes = await read(wanted);
        if (!bytes) throw new Error('not here');
        yield bytes;
      },
    };
    try {
      const entry = await exporter([root.toString(), ...path].join('/'), store);
      if ((entry.type !== 'file' && entry.type !== 'raw') || entry.size > answerBytesMax) return undefined;
      const chunks: Uint8Array[] = [];
      for await (const chunk of entry.content()) chunks.push(chunk);
      return { root: entry.cid, bytes: Buffer.concat(chunks) };
    } catch {
      return undefined;
    }
  };

  const inTurn = makeTurns(answersAtOnce, waitingMax);

  const answer = async (
    cid: CID,
    path: readonly string[],
    format: GatewayFormat,
  ): Promise<GatewayAnswer | undefined> => {
    if (format === 'file') return readFile(cid, path);
    if (path.length > 0) return undefined;
    if (format === 'raw') {
      const bytes = await openDag(cid)(cid);
      return bytes && { root: cid, bytes: Buffer.from(bytes) };
    }
    const blocks = await readDag(cid);
    return blocks && { root: cid, bytes: await carOf({ root: cid, blocks }) };
  };

  return {
    /** Undefined for what is not here. @throws Problem overloaded */
    async find(address: string, path: readonly string[], format: GatewayFormat): Promise<GatewayAnswer | undefined> {
      const cid = parseAddress(address);
      return cid && inTurn(() => answer(cid, path, format));
    },
  };
}

/** Lets so much work be done at a time, and refuses what would wait behind too much of it. */
function makeTurns(atOnce: number, most: number): <Result>(work: () => Promise<Result>) => Promise<Result> {
  let working = 0;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (working < atOnce) working += 1;
    else {
      if (waiting.length >= most)
        throw new Problem('overloaded', 'too much stored content is asked for at this moment');
      await new Promise<void>((resolve) => waiting.push(resolve));
    }
    try {
      return await work();
    } finally {
      // Whoever waits takes over the place as it is.
      const next = waiting.shift();
      if (next) next();
      else working -= 1;
    }
  };
}

type ReadBlock = (cid: CID) => Promise<Uint8Array | undefined>;

function hashOf(cid: CID): string {
  return Buffer.from(cid.multihash.bytes).toString('hex');
}
