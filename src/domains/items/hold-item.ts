import type { IncomingHttpHeaders } from 'node:http';
import type { Queryable } from '#platform/database.ts';
import { checkIfMatch, entityTagOf } from '#platform/entity-tag.ts';
import { Problem } from '#platform/errors.ts';
import { lockItems } from './deduplication.store.ts';
import { readOwnItem, type OwnItemRow } from './item-changes.store.ts';
import { dfidOf, itemNumberOf } from './item-names.ts';

/** Who changes something, which item they name, and on which condition. */
export interface ItemChange {
  readonly workspaceId: string;
  /** The key or user that asks for it. */
  readonly changedBy: string;
  readonly idOrDfid: string;
  /** Where `If-Match` may stand. */
  readonly headers: IncomingHttpHeaders;
}

/** The entity tag of an item as one workspace sees it: it changes with what the workspace knows of the item. */
export function itemTagOf(item: { readonly version: number; readonly merged_into: unknown }): string {
  return entityTagOf(item.merged_into === null ? item.version : `${item.version}-merged`);
}

/**
 * Locks an item for a change by a workspace that contributed to it, and reads it as it is under the lock. Only one's own
 * items are ever locked, so nobody can make strangers wait.
 * @throws Problem not_found, item_merged, precondition_failed, invalid_header.
 */
export async function holdItem(
  client: Queryable,
  { workspaceId, idOrDfid, headers }: Omit<ItemChange, 'changedBy'>,
): Promise<OwnItemRow> {
  const itemNumber = itemNumberOf(idOrDfid);
  const seen = itemNumber === undefined ? undefined : await readOwnItem(client, workspaceId, itemNumber);
  if (!seen || (idOrDfid.startsWith('DFID-') && dfidOf(seen) !== idOrDfid)) throw notFound();
  await lockItems(client, [seen.item_number], false);
  const item = await readOwnItem(client, workspaceId, seen.item_number);
  if (!item) throw notFound();
  if (item.merged_into !== null) throw itemMerged();
  checkIfMatch(headers, itemTagOf(item));
  return item;
}

function notFound(): Problem {
  return new Problem('not_found', 'your workspace knows no item with this id or DFID');
}

function itemMerged(): Problem {
  return new Problem('item_merged', 'this item was merged; GET tells into which, and changes go there');
}
