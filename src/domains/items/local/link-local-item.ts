import { Problem } from '#platform/errors.ts';
import type { Queryable } from '#platform/database.ts';
import { deleteLocalIdentifiers, findLink, setItemNumber } from './local-items.store.ts';

/**
 * Notes, in the transaction that made or found an item, that a local item became it: from then on its local id leads to the
 * DFID, and it changes no more. Linking again to the same item changes nothing. Who links several does so in the order of
 * their ids.
 * @throws Problem not_found, local_item_merged, or local_item_tokenized when it is another item already.
 */
export async function linkLocalItem(
  transaction: Queryable,
  workspaceId: string,
  localId: string,
  itemNumber: number,
): Promise<void> {
  if (await setItemNumber(transaction, workspaceId, localId, itemNumber)) {
    await deleteLocalIdentifiers(transaction, workspaceId, [localId]);
    return;
  }
  const link = await findLink(transaction, workspaceId, localId);
  if (!link) throw new Problem('not_found', `your workspace has no local item ${localId}`);
  if (link.merged_into !== null)
    throw new Problem('local_item_merged', `local item ${localId} is merged into ${link.merged_into}`);
  if (link.item_number !== itemNumber)
    throw new Problem('local_item_tokenized', `local item ${localId} is another item already`);
}
