import type pg from 'pg';
import { Problem } from '#platform/errors.ts';
import { withTransaction } from '#platform/database.ts';
import { makeId } from '#platform/ids.ts';
import type { Principal } from '#platform/route.ts';
import { findMergedItems } from '../deduplication.store.ts';
import { itemIdOf } from '../item-id.ts';
import { dfidOf } from '../item-names.ts';
import { untilFree } from '../until-free.ts';
import { readDecidable, tell } from './item-acts.service.ts';
import { readDecidedItems, type DecidedItemRow } from './item-acts.store.ts';
import {
  findRelationships,
  isDerivedFrom,
  lockRelationships,
  writeRelationships,
  type RelationshipRow,
} from './item-relationships.store.ts';

const shownMax = 10_000;

/** What a person says of how an item relates to others. */
export interface RelationshipDeclaration {
  readonly idOrDfid: string;
  readonly type: 'derived' | 'related';
  /** Whether the related items came out of the item or went into it. */
  readonly direction: 'outputs' | 'inputs';
  readonly related: readonly { dfid: string; quantity?: string | null | undefined; unit?: string | null | undefined }[];
}

export type ItemRelationships = ReturnType<typeof makeItemRelationships>;

/** How items relate: what was made of what, n to m, with quantities; each workspace says and sees its own. */
export function makeItemRelationships({ pool, nowMs }: { pool: pg.Pool; nowMs(): number }) {
  const list = async (client: pg.ClientBase, workspaceId: string, item: DecidedItemRow) => {
    const itemNumbers = [
      item.item_number,
      ...(await findMergedItems(client, [item.item_number])).map((each) => each.item_number),
    ];
    const rows = await findRelationships(client, workspaceId, itemNumbers, shownMax);
    const parts = await readDecidedItems(client, workspaceId, [
      ...new Set(rows.flatMap((row) => [row.primary_item, row.related_item])),
    ]);
    return rows.map((row) => showRelationship(row, parts));
  };

  return {
    list: (principal: Principal, idOrDfid: string) =>
      withTransaction(pool, async (client) => {
        const [item] = await readDecidable(client, principal, [idOrDfid], false);
        return list(client, principal.workspaceId, item!);
      }),

    declare: (principal: Principal, { idOrDfid, type, direction, related }: RelationshipDeclaration) =>
      untilFree(() =>
        withTransaction(pool, async (client) => {
          const { workspaceId, credentialId: by } = principal;
          const [item, ...others] = await readDecidable(
            client,
            principal,
            [idOrDfid, ...related.map(({ dfid }) => dfid)],
            false,
          );
          const currentOf = (row: DecidedItemRow) => row.merged_into ?? row.item_number;
          const itemNumber = currentOf(item!);
          const numbers = others.map(currentOf);
          if (numbers.includes(itemNumber)) throw new Problem('invalid_request', 'an item does not relate to itself');
          await lockRelationships(client, workspaceId);
          if (type === 'derived') {
            const [sources, products] = direction === 'outputs' ? [[itemNumber], numbers] : [numbers, [itemNumber]];
            if (await isDerivedFrom(client, workspaceId, products, sources))
              throw new Problem('invalid_request', 'an item cannot be made of what was made of it');
          }
          await writeRelationships(
            client,
            { workspaceId, type, origin: 'declared', by },
            related.map(({ quantity, unit }, at) => ({
              relationshipId: makeId(),
              primaryItem: direction === 'outputs' ? itemNumber : numbers[at]!,
              relatedItem: direction === 'outputs' ? numbers[at]! : itemNumber,
              quantity: quantity ?? null,
              unit: unit ?? null,
            })),
          );
          for (const each of [itemNumber, ...new Set(numbers)])
            await tell(client, nowMs(), [workspaceId], each, 'item_related', () => ({
              relationship_type: type,
              direction: (each === itemNumber) === (direction === 'outputs') ? 'outputs' : 'inputs',
              by,
            }));
          return list(client, workspaceId, item!);
        }),
      ),
  };
}

function showRelationship(row: RelationshipRow, parts: ReadonlyMap<number, DecidedItemRow>) {
  return {
    id: row.relationship_id,
    primary_item_id: itemIdOf(row.primary_item),
    related_item_id: itemIdOf(row.related_item),
    primary_dfid: dfidOf(parts.get(row.primary_item)!),
    related_dfid: dfidOf(parts.get(row.related_item)!),
    relationship_type: row.relationship_type,
    confidence_score: null,
    quantity: row.quantity,
    unit: row.unit,
    origin: row.origin,
    created_at: row.created_at.toISOString(),
  };
}
