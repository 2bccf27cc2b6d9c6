import type { Queryable } from '#platform/database.ts';
import { holdItem, type ItemChange } from './hold-item.ts';
import { dfidOf } from './item-names.ts';
import { showIdentifiers, showMetadata, type VersionContent } from './version-content.ts';

/** What a workspace knows of an item, read under its lock. */
export interface HeldItemState extends VersionContent {
  readonly itemNumber: number;
  readonly dfid: string;
  readonly version: number;
}

/**
 * Locks an item as for a change, and tells what a workspace knows of it then.
 * @throws Problem of `holdItem`.
 */
export async function holdItemState(client: Queryable, change: Omit<ItemChange, 'changedBy'>): Promise<HeldItemState> {
  const item = await holdItem(client, change);
  return {
    itemNumber: item.item_number,
    dfid: dfidOf(item),
    version: item.version,
    status: item.status,
    identifiers: showIdentifiers(item.state),
    metadata: showMetadata(item.state),
  };
}
