import { int8Array, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import type { Contradiction } from '../resolution-plan.ts';
import type { StoredRecord } from '../stored-record.ts';
import { caseColumns, claimColumns, withNumbers, type CaseRow } from './conflicts.store.ts';

export interface CaseFilter {
  /** Null for the cases of all workspaces. */
  readonly workspaceId: string | null;
  readonly status: 'open' | 'resolved' | undefined;
  /** Items of which one is contested. */
  readonly itemNumbers: readonly number[] | undefined;
  /** Keys of which one is contested. */
  readonly keys: readonly string[] | undefined;
}

/** Cases, newest first, and how many there are, counted up to `countedMax`. */
export async function listCases(
  queryable: Queryable,
  filter: CaseFilter,
  page: { limit: number; offset: number; after: string | undefined; countedMax: number },
): Promise<{ rows: CaseRow[]; total: number }> {
  const { name, text, values } = matchingCases(filter);
  const parameter = (at: number) => `$${values.length + at}`;
  const { rows } = await queryable.query<CaseRow>({
    name: `list_cases${name}`,
    text: `select ${caseColumns} from conflicts join (
             ${text} and (${parameter(1)}::uuid is null or conflict_id < ${parameter(1)})
             order by conflict_id desc limit ${parameter(2)} offset ${parameter(3)}
           ) as page using (conflict_id) order by conflict_id desc`,
    values: [...values, page.after ?? null, page.limit, page.after === undefined ? page.offset : 0],
  });
  const counted = await queryable.query<{ total: number }>({
    name: `count_cases${name}`,
    text: `select count(*) as total from (${text} order by conflict_id desc limit ${parameter(1)}) as counted`,
    values: [...values, page.countedMax],
  });
  return { rows: rows.map(withNumbers), total: counted.rows[0]!.total };
}

/**
 * The ids of the cases that a filter wants. Each kind of filter is a statement of its own, which begins where the fewest
 * rows are: what belongs to an item or identifier, else the cases of a workspace, else those of a status.
 */
function matchingCases(filter: CaseFilter): { name: string; text: string; values: unknown[] } {
  const { workspaceId, status, itemNumbers, keys } = filter;
  const statusIs = status === undefined ? `status <> 'joined'` : `status = '${status}'`;
  const values: unknown[] = [];
  const parameter = (value: unknown) => `$${values.push(value)}`;
  const name = ['', status, itemNumbers && 'of_items', keys && 'of_claims', workspaceId && 'of_workspace']
    .filter((part) => part !== undefined && part !== null)
    .join('_');
  if (!itemNumbers && !keys) {
    if (workspaceId === null) return { name, text: `select conflict_id from conflicts where ${statusIs}`, values };
    const isOpen = status === undefined ? '' : `and ${status === 'open' ? '' : 'not '}is_open`;
    const text = `select conflict_id from conflict_participants as participants
      where workspace_id = ${parameter(workspaceId)} ${isOpen}
        and exists (select 1 from conflicts where conflicts.conflict_id = participants.conflict_id and ${statusIs} offset 0)`;
    return { name, text, values };
  }
  const sets: string[] = [];
  if (itemNumbers) {
    const numbers = `${parameter(int8Array(itemNumbers))}::int8[]`;
    sets.push(`select conflict_id from contested_items where item_number = any(${numbers})
               union select conflict_id from conflicts where item_numbers && ${numbers}`);
  }
  if (keys) {
    const [types, texts] = claimColumns(keys).map(parameter);
    sets.push(`select contested.conflict_id from unnest(${types}::text[], ${texts}::text[]) as wanted (identifier_type, value)
               cross join lateral (
                 select conflict_id from contested_claims
                 where identifier_type = wanted.identifier_type collate "C" and value = wanted.value collate "C" offset 0
               ) as contested`);
  }
  const isOfWorkspace =
    workspaceId === null
      ? ''
      : `and exists (select 1 from conflict_participants as participants
             where participants.conflict_id = found.conflict_id and participants.workspace_id = ${parameter(workspaceId)} offset 0)`;
  const text = `select conflict_id from (${sets.map((set) => `(${set})`).join(' intersect ')}) as found
    where exists (select 1 from conflicts where conflicts.conflict_id = found.conflict_id and ${statusIs} offset 0) ${isOfWorkspace}`;
  return { name, text, values };
}

export interface CaseEntryRow {
  conflict_id: string;
  entry_id: string;
  workspace_id: string;
  status: string;
  outcome: string | null;
  record: StoredRecord;
  error: { contradictions?: Contradiction[]; detail: string } | null;
  received_at: Date;
}

/** The first entries of each case, those that wait and those that a resolution finished; of one workspace if one is named. */
export async function findEntriesOfCases(
  queryable: Queryable,
  conflictIds: readonly string[],
  { workspaceId, limit }: { workspaceId: string | null; limit: number },
): Promise<CaseEntryRow[]> {
  const { rows } = await queryable.query<CaseEntryRow>({
    name: 'find_entries_of_cases',
    text: `select wanted.conflict_id, parts.*, receipts.received_at
           from unnest($1::uuid[]) as wanted (conflict_id)
           cross join lateral (
             select entries.entry_id, entries.workspace_id, entries.status, entries.outcome, entries.record, entries.error,
                    entries.received_sequence
             from conflict_entries join entries on entries.entry_id = conflict_entries.entry_id
             where conflict_entries.conflict_id = wanted.conflict_id and ($2::uuid is null or entries.workspace_id = $2)
             order by entries.entry_id limit $3
           ) as parts
           join receipts on receipts.received_sequence = parts.received_sequence
           order by parts.entry_id`,
    values: [uuidArray(conflictIds), workspaceId, limit],
  });
  return rows;
}

/** How many entries a case has, of one workspace or of all. */
export interface CaseSize {
  conflict_id: string;
  waiting: number;
  shown: number;
  /** Whose entries they are. */
  workspace_ids: string[];
}

export async function countEntriesOfCases(
  queryable: Queryable,
  conflictIds: readonly string[],
  workspaceId: string | null,
): Promise<CaseSize[]> {
  const { rows } = await queryable.query<CaseSize>({
    name: 'count_entries_of_cases',
    text: `select parts.conflict_id, count(*) filter (where entries.status = 'conflicted' and ($2::uuid is null or entries.workspace_id = $2)) as waiting,
                  count(*) filter (where $2::uuid is null or entries.workspace_id = $2) as shown,
                  array_agg(distinct entries.workspace_id::text) as workspace_ids
           from conflict_entries as parts join entries on entries.entry_id = parts.entry_id
           where parts.conflict_id = any($1::uuid[]) group by parts.conflict_id`,
    values: [uuidArray(conflictIds), workspaceId],
  });
  return rows;
}
