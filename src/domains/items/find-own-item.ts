import type { Knex } from '#platform/database.ts';
import { Problem } from '#platform/errors.ts';
import { dfidOf, itemNumberOf } from './item-names.ts';
import { findItem, type ItemRow } from './items.store.ts';

/**
 * What a workspace knows of an item that it names by id or DFID, merged or not.
 * @throws Problem not_found
 */
export async function findOwnItem(knex: Knex, workspaceId: string, idOrDfid: string): Promise<ItemRow> {
  const itemNumber = itemNumberOf(idOrDfid);
  const row = itemNumber === undefined ? undefined : await findItem(knex, workspaceId, itemNumber);
  if (!row || (idOrDfid.startsWith('DFID-') && dfidOf(row) !== idOrDfid)) {
    throw new Problem('not_found', 'your workspace knows no item with this id or DFID');
  }
  return row;
}
