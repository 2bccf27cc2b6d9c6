import { byteaArray, int4Array, int8Array, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';

/** 256 leaves of the tree of an item, and what stands before them. */
export interface TreePage {
  readonly workspace_id: string;
  readonly item_number: number;
  readonly page: number;
  readonly leaves: Buffer;
  readonly page_root: Buffer;
  readonly subtrees_before: Buffer;
  readonly root: Buffer;
}

/** Whose tree it is. */
export type TreeKey = Pick<TreePage, 'workspace_id' | 'item_number'>;

/** Takes the trees for this transaction, and tells how much of the log they have; undefined when another one has them. */
export async function lockItemTrees(queryable: Queryable): Promise<{ taken: number; size: number } | undefined> {
  const { rows } = await queryable.query<{ taken: number; size: number }>({
    name: 'lock_item_trees',
    text: `select item_tree_state.size as taken, log_state.size from item_tree_state, log_state for update of item_tree_state skip locked`,
  });
  return rows[0];
}

/** Whether the log has entries that the trees have not. */
export async function areTreesBehind(queryable: Queryable): Promise<boolean> {
  const { rows } = await queryable.query<{ is_behind: boolean }>({
    name: 'are_item_trees_behind',
    text: 'select item_tree_state.size < log_state.size as is_behind from item_tree_state, log_state',
  });
  return rows[0]!.is_behind;
}

/** Entries that are about events, from `begin` to before `end`, in their order. */
export async function findEventEntries(
  queryable: Queryable,
  begin: number,
  end: number,
): Promise<(TreeKey & { commitment: Buffer })[]> {
  const { rows } = await queryable.query<TreeKey & { commitment: Buffer }>({
    name: 'find_event_entries',
    text: `select workspace_id, item_number, commitment from log_entries
           where index >= $1 and index < $2 and event_id is not null order by index`,
    values: [begin, end],
  });
  return rows;
}

const pageColumns = 'workspace_id, item_number, page, leaves, page_root, subtrees_before, root';

/** The last pages of trees. */
export async function findLastPages(queryable: Queryable, keys: readonly TreeKey[]): Promise<TreePage[]> {
  const { rows } = await queryable.query<TreePage>({
    name: 'find_last_item_tree_pages',
    text: `select last.* from unnest($1::uuid[], $2::int8[]) as wanted (workspace_id, item_number)
           cross join lateral (
             select ${pageColumns} from item_tree_pages as pages
             where pages.workspace_id = wanted.workspace_id and pages.item_number = wanted.item_number
             order by page desc limit 1
           ) as last`,
    values: [uuidArray(keys.map((key) => key.workspace_id)), int8Array(keys.map((key) => key.item_number))],
  });
  return rows;
}

export async function writePages(queryable: Queryable, pages: readonly TreePage[]): Promise<void> {
  if (pages.length === 0) return;
  await queryable.query({
    name: 'write_item_tree_pages',
    text: `insert into item_tree_pages (${pageColumns})
           select * from unnest($1::uuid[], $2::int8[], $3::int4[], $4::bytea[], $5::bytea[], $6::bytea[], $7::bytea[])
           on conflict (workspace_id, item_number, page) do update
             set leaves = excluded.leaves, page_root = excluded.page_root, root = excluded.root, updated_at = now()`,
    values: [
      uuidArray(pages.map((page) => page.workspace_id)),
      int8Array(pages.map((page) => page.item_number)),
      int4Array(pages.map((page) => page.page)),
      byteaArray(pages.map((page) => page.leaves)),
      byteaArray(pages.map((page) => page.page_root)),
      byteaArray(pages.map((page) => page.subtrees_before)),
      byteaArray(pages.map((page) => page.root)),
    ],
  });
}

/** Notes that the trees have the first `size` entries of the log. */
export async function writeTreesSize(queryable: Queryable, size: number): Promise<void> {
  await queryable.query({
    name: 'write_item_trees_size',
    text: 'update item_tree_state set size = $1',
    values: [size],
  });
}

/** What is known of the tree of one item that is part of the one that was asked for. */
export interface MemberTree {
  asked_number: number;
  /** The item as it is now. */
  current_number: number;
  /** The item whose tree this is. */
  item_number: number;
  root: Buffer;
  event_count: number;
  updated_at: Date;
}

const memberColumns = `members.item_number, last.root, last.page * 256 + octet_length(last.leaves) / 32 as event_count, last.updated_at`;
const lastPage = `(
    select page, leaves, root, updated_at from item_tree_pages as pages
    where pages.workspace_id = $1 and pages.item_number = members.item_number order by page desc limit 1
  )`;

/** The trees of a workspace for items, each with those of the items that are one with it now, the smallest number first. */
export async function findMemberTrees(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
): Promise<MemberTree[]> {
  const { rows } = await queryable.query<MemberTree>({
    name: 'find_member_trees',
    text: `select asked_number, current_number, ${memberColumns}
           from (
             select item_number as asked_number, coalesce(merged_into, item_number) as current_number
             from items where item_number = any($2::int8[])
           ) as asked
           cross join lateral (
             select current_number as item_number
             union all
             select item_number from items where merged_into = current_number
           ) as members
           cross join lateral ${lastPage} as last
           order by asked_number, members.item_number`,
    values: [workspaceId, int8Array(itemNumbers)],
  });
  return rows;
}

/** Numbers of items that have a tree for a workspace, above `after` and at most `until`, whether merged or not. */
export async function listTreeItems(
  queryable: Queryable,
  workspaceId: string,
  { after, until, limit }: { after: number; until: number; limit: number },
): Promise<number[]> {
  const { rows } = await queryable.query<{ item_number: number }>({
    name: 'list_tree_items',
    text: `select item_number from item_tree_pages
           where workspace_id = $1 and item_number > $2 and item_number <= $3 and page = 0
           order by item_number limit $4::int4`,
    values: [workspaceId, after, until, limit],
  });
  return rows.map((row) => row.item_number);
}

/** The pages of a tree in their order, with the leaves of the last one and of the one that has a certain leaf. */
export async function findPagesAroundLeaf(
  queryable: Queryable,
  { workspace_id: workspaceId, item_number: itemNumber }: TreeKey,
  leaf: Buffer,
): Promise<{ page_root: Buffer; leaves: Buffer | null }[]> {
  const { rows } = await queryable.query<{ page_root: Buffer; leaves: Buffer | null }>({
    name: 'find_item_tree_pages_around_leaf',
    text: `select page_root, case when page = last or position($3::bytea in leaves) > 0 then leaves end as leaves
           from (
             select *, max(page) over () as last from item_tree_pages where workspace_id = $1 and item_number = $2
           ) as pages
           order by page`,
    values: [workspaceId, itemNumber, leaf],
  });
  return rows;
}

/** Certain pages of trees. */
export async function findPages(
  queryable: Queryable,
  places: readonly (TreeKey & Pick<TreePage, 'page'>)[],
): Promise<TreePage[]> {
  if (places.length === 0) return [];
  const { rows } = await queryable.query<TreePage>({
    name: 'find_item_tree_pages',
    text: `select ${pageColumns} from item_tree_pages
           join unnest($1::uuid[], $2::int8[], $3::int4[]) as wanted (workspace_id, item_number, page)
             using (workspace_id, item_number, page)`,
    values: [
      uuidArray(places.map((place) => place.workspace_id)),
      int8Array(places.map((place) => place.item_number)),
      int4Array(places.map((place) => place.page)),
    ],
  });
  return rows;
}

/** How many entries of the log the trees have taken in. */
export async function readTreesSize(queryable: Queryable): Promise<number> {
  const { rows } = await queryable.query<{ size: number }>({
    name: 'read_item_trees_size',
    text: 'select size from item_tree_state',
  });
  return rows[0]!.size;
}

/** Pages of all trees in the order of their keys, behind one of them. */
export async function listPages(queryable: Queryable, after: TreePage | undefined, limit: number): Promise<TreePage[]> {
  const { rows } = await queryable.query<TreePage>({
    name: 'list_item_tree_pages',
    text: `select ${pageColumns} from item_tree_pages
           where (workspace_id, item_number, page) > ($1::uuid, $2::int8, $3::int4)
           order by workspace_id, item_number, page limit $4::int4`,
    values: [
      after?.workspace_id ?? '00000000-0000-0000-0000-000000000000',
      after?.item_number ?? 0,
      after?.page ?? 0,
      limit,
    ],
  });
  return rows;
}

/** Forgets all trees: workers make them again from the log. */
export async function forgetTrees(queryable: Queryable): Promise<void> {
  await queryable.query('truncate item_tree_pages');
  await writeTreesSize(queryable, 0);
}
