import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Queryable } from '#platform/database.ts';
import { isUuid, makeId } from '#platform/ids.ts';
import { StorageFault } from './adapter.ts';

/**
 * Says that a folder is the one of this installation, since a folder is on one machine and others would not find what is in
 * it. The first folder that asks becomes it.
 * @throws StorageFault when another folder is, or this one cannot be used.
 */
export async function claimLocalFolder(queryable: Queryable, folder: string): Promise<void> {
  const id = await readFolderId(folder);
  const { rows } = await queryable.query<{ local_folder: string }>({
    name: 'claim_local_folder',
    text: 'update storage_state set local_folder = coalesce(local_folder, $1) returning local_folder',
    values: [id],
  });
  if (rows[0]?.local_folder === id) return;
  throw new StorageFault('local storage is for one machine, and another folder than the one here is in use');
}

async function readFolderId(folder: string): Promise<string> {
  const path = join(folder, 'id');
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeFile(path, `${makeId()}\n`, { flag: 'wx', mode: 0o600 }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error;
    });
    const id = (await readFile(path, 'utf8')).trim();
    if (isUuid(id)) return id;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new StorageFault(`the folder of local storage cannot be used: ${code ?? message}`, { cause: error });
  }
  throw new StorageFault('the folder of local storage has an id that is none');
}
