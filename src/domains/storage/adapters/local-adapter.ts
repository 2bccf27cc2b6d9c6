import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CID } from 'multiformats/cid';
import { isContentOf, linksOf, type Block } from '../content-address.ts';
import { makeId } from '#platform/ids.ts';
import { StorageFault, type StorageAdapter } from './adapter.ts';

/** Blocks in files of a folder of this machine. */
export interface LocalBlocks {
  /** The bytes of a block; undefined when it is not there. @throws StorageFault for bytes that are not those of the CID. */
  read(cid: CID): Promise<Buffer | undefined>;
}

/**
 * Keeps DAGs in a folder, each block in a file that is named by its hash.
 * @param claimFolder throws StorageFault when nothing may be stored there.
 */
export function makeLocalAdapter(folder: string, claimFolder: () => Promise<void>): StorageAdapter & LocalBlocks {
  const pathOf = (cid: CID) => {
    const name = Buffer.from(cid.multihash.bytes).toString('hex');
    return join(folder, 'blocks', name.slice(-2), name);
  };

  const write = async ({ cid, bytes }: Block) => {
    const path = pathOf(cid);
    const known = await read(cid).catch(() => undefined);
    if (known) return;
    await mkdir(dirname(path), { recursive: true });
    const temporary = `${path}.${makeId()}`;
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  };

  const read = async (cid: CID): Promise<Buffer | undefined> => {
    const bytes = await readFile(pathOf(cid)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw new StorageFault(`the folder of blocks cannot be read: ${error.code ?? error.message}`, { cause: error });
    });
    if (bytes && !isContentOf(cid, bytes))
      throw new StorageFault(`the block ${cid.toString()} was changed on the disk`);
    return bytes;
  };

  /** Walks through what is there of a DAG. False when a block is missing or was changed. */
  const isWhole = async (cid: CID): Promise<boolean> => {
    const bytes = await read(cid).catch(() => undefined);
    if (!bytes) return false;
    for (const { cid: next } of linksOf({ cid, bytes })) if (!(await isWhole(next))) return false;
    return true;
  };

  /** Blocks that something else has as well are stored again when that is checked. */
  const removeTree = async (cid: CID): Promise<void> => {
    const bytes = await read(cid).catch(() => undefined);
    if (bytes) for (const { cid: next } of linksOf({ cid, bytes })) await removeTree(next);
    await rm(pathOf(cid), { force: true });
  };

  return {
    name: 'local',
    read,
    async store({ root, blocks }) {
      await claimFolder();
      try {
        await inFlight(blocks, write);
        await inFlight([...new Set(blocks.map(({ cid }) => dirname(pathOf(cid))))], syncFolder);
      } catch (error) {
        if (error instanceof StorageFault) throw error;
        const { code, message } = error as NodeJS.ErrnoException;
        throw new StorageFault(`the folder of blocks cannot be written: ${code ?? message}`, { cause: error });
      }
      return { root: root.toString(), reference: null };
    },
    async has(root) {
      await claimFolder();
      return isWhole(CID.parse(root));
    },
    async remove(root, _reference, orphans) {
      for (const orphan of orphans) await removeTree(orphan);
      await rm(pathOf(CID.parse(root)), { force: true });
    },
  };
}

/** So many files at once: the disk flushes those together that wait together. */
const filesInFlight = 64;

async function inFlight<Each>(all: readonly Each[], work: (each: Each) => Promise<void>): Promise<void> {
  const waiting = all.values();
  const lane = async () => {
    for (const each of waiting) await work(each);
  };
  await Promise.all(Array.from({ length: filesInFlight }, lane));
}

/** A rename is on the disk when its folder is. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
