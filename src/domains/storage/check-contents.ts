import { int4Array, int8Array, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import { addressOf } from './content-address.ts';
import { findBatchContents } from './batches.store.ts';
import { batchDag } from './storage-work.ts';

/** The version of an item of a workspace. */
interface NamedVersion {
  readonly workspaceId: string;
  readonly itemNumber: number;
  readonly version: number;
}

/**
 * For contents of versions, by the addresses under which they are kept, those that their bytes lead to; `erased` for contents
 * without bytes.
 */
export async function findAddresses(
  queryable: Queryable,
  versions: readonly NamedVersion[],
): Promise<Map<string, string>> {
  if (versions.length === 0) return new Map();
  const { rows } = await queryable.query<{ cid: string; bytes: Buffer | null }>({
    name: 'find_contents_of_versions',
    text: `select cid, bytes from unnest($1::int8[], $2::uuid[], $3::int4[]) as wanted (item_number, workspace_id, version)
           join storage_contents using (item_number, workspace_id, version)`,
    values: [
      int8Array(versions.map(({ itemNumber }) => itemNumber)),
      uuidArray(versions.map(({ workspaceId }) => workspaceId)),
      int4Array(versions.map(({ version }) => version)),
    ],
  });
  const found = new Map<string, string>();
  for (const { cid, bytes } of rows) found.set(cid, bytes === null ? 'erased' : (await addressOf(bytes)).toString());
  return found;
}

const batchesAtOnce = 100;

/** Computes the roots of all batches again; gives how many there are. */
export async function checkBatches(
  queryable: Queryable,
  tell: (batchId: string, detail: string) => void,
): Promise<number> {
  let checked = 0;
  let after = '00000000-0000-0000-0000-000000000000';
  for (;;) {
    const { rows } = await queryable.query<{ batch_id: string; root: string }>({
      name: 'list_checked_batches',
      text: `select batch_id, root from storage_batches where batch_id > $1 and state in ('packed', 'stored')
             order by batch_id limit $2::int4`,
      values: [after, batchesAtOnce],
    });
    if (rows.length === 0) return checked;
    for (const { batch_id: batchId, root } of rows) {
      const contents = await findBatchContents(queryable, batchId);
      const whole = contents.flatMap(({ cid, bytes }) => (bytes ? { cid, bytes } : []));
      checked += 1;
      if (whole.length < contents.length) tell(batchId, 'contents of it were erased, and it is not removed yet');
      else if ((await batchDag(whole)).root.toString() !== root) tell(batchId, 'its contents do not lead to its root');
    }
    after = rows.at(-1)!.batch_id;
  }
}
