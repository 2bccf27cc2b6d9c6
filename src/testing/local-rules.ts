import type { Database } from '#platform/database.ts';
import { foldGroup } from '#domains/items/local/local-item-fold.ts';
import { findGroupContents } from '#domains/items/local/local-item-merges.store.ts';

/** Rules of local items that hold after every commit, as queries for what breaks them. */
const brokenRules: Readonly<Record<string, string>> = {
  'what is merged points at one that is not merged': `select l.local_id from local_items l
     left join local_items m on m.workspace_id = l.workspace_id and m.local_id = l.merged_into
     where l.merged_into is not null and (m.local_id is null or m.merged_into is not null)`,
  'what is merged hangs below its master, in its group': `select l.local_id from local_items l
     left join local_items p on p.workspace_id = l.workspace_id and p.local_id = l.parent_id
     where l.parent_id is not null and coalesce(p.merged_into, p.local_id) is distinct from l.merged_into`,
  'every chain of parents ends, at the root': `with recursive up as (
       select workspace_id, local_id as start, local_id, parent_id, 0 as height from local_items
       union all
       select p.workspace_id, up.start, p.local_id, p.parent_id, up.height + 1 from up
       join local_items p on p.workspace_id = up.workspace_id and p.local_id = up.parent_id where up.height < 100)
     select start from up group by start having bool_and(parent_id is not null) or max(height) >= 100`,
  'what is merged or tokenised has no identifiers to be found by': `select i.local_id from local_item_identifiers i
     left join local_items l using (workspace_id, local_id)
     where l.local_id is null or l.merged_into is not null or l.item_number is not null`,
  'the others are found by exactly the canonical identifiers that they know': `with known as (
       select l.workspace_id, l.local_id, e ->> 2 as identifier_type, e ->> 3 as value
       from local_items l, json_array_elements(coalesce(l.folded, l.content) -> 'identifiers') e
       where l.merged_into is null and l.item_number is null and e ->> 4 = '1')
     (select workspace_id, local_id, identifier_type, value from known
      except select workspace_id, local_id, identifier_type, value from local_item_identifiers)
     union all
     (select workspace_id, local_id, identifier_type, value from local_item_identifiers
      except select workspace_id, local_id, identifier_type, value from known)`,
  'the last decision about an item is what it is': `select l.local_id from local_items l
     left join lateral (select kind, master_id from local_item_decisions d
       where d.workspace_id = l.workspace_id and d.local_id = l.local_id order by decided_at desc, decision_id desc limit 1) d on true
     where (d.kind = 'merge') is distinct from (case when l.parent_id is null and d.kind is null then null else l.parent_id is not null end)
       or (d.kind = 'merge' and d.master_id <> l.parent_id)`,
};

/** What is broken, by the rule that it breaks; nothing when all is well. */
export async function findBrokenLocalRules({ pool }: Database): Promise<Record<string, unknown[]>> {
  const broken: Record<string, unknown[]> = {};
  for (const [rule, text] of Object.entries(brokenRules)) {
    const { rows } = await pool.query<object>(text);
    if (rows.length > 0) broken[rule] = rows;
  }
  const { rows: roots } = await pool.query<{ workspace_id: string; local_id: string; folded: unknown }>(
    `select workspace_id, local_id, folded from local_items l where merged_into is null and exists (
       select 1 from local_items m where m.workspace_id = l.workspace_id and m.merged_into = l.local_id) or folded is not null`,
  );
  const wrong: string[] = [];
  for (const { workspace_id: workspaceId, local_id: rootId, folded } of roots) {
    const members = await findGroupContents(pool, workspaceId, [rootId]);
    const fold = foldGroup(
      rootId,
      members.map((row) => ({
        localId: row.local_id,
        content: row.content,
        merge:
          row.parent_id === null
            ? null
            : { parentId: row.parent_id, strategy: row.merge_strategy!, order: row.merge_order! },
      })),
    );
    if (JSON.stringify(fold) !== JSON.stringify(folded)) wrong.push(rootId);
  }
  if (wrong.length > 0) broken['what a master knows is the fold over its members'] = wrong;
  return broken;
}
