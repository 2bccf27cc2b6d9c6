import { byteaArray, int8Array, textArray, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import { claimKey, splitClaimKey } from '../judge-record.ts';
import type { Contradiction } from '../resolution-plan.ts';
import { claimsOfRecord, type StoredRecord } from '../stored-record.ts';

/** The lock of everyone who opens, joins or resolves cases; the last one that a transaction takes. */
const caseLockKey = 0x6361_7365;

/** Waits until no other transaction changes cases; held to the end of this one. */
export async function lockCases(queryable: Queryable): Promise<void> {
  await queryable.query({ name: 'lock_cases', text: 'select pg_advisory_xact_lock($1)', values: [caseLockKey] });
}

/** An identifier or an item, and the open case that it belongs to. */
export interface TouchedCase {
  readonly conflictId: string;
  readonly key: string | undefined;
  readonly itemNumber: number | undefined;
}

/** The types and the values of keys, as parameters. */
export function claimColumns(keys: readonly string[]): [types: Buffer, values: Buffer] {
  const pairs = keys.map(splitClaimKey);
  return [textArray(pairs.map((pair) => pair[0])), textArray(pairs.map((pair) => pair[1]))];
}

// `offset 0`, here and below: a lookup of each key also in plans that were made while the table was empty.

/** The open cases to which any of these belongs. */
export async function findCasesTouching(
  queryable: Queryable,
  keys: readonly string[],
  itemNumbers: readonly number[],
): Promise<TouchedCase[]> {
  const { rows } = await queryable.query<{
    conflict_id: string;
    identifier_type: string | null;
    value: string | null;
    item_number: number | null;
  }>({
    name: 'find_cases_touching',
    text: `select contested.conflict_id, wanted.identifier_type, wanted.value, null::int8 as item_number
           from unnest($1::text[], $2::text[]) as wanted (identifier_type, value)
           cross join lateral (
             select conflict_id from contested_claims
             where identifier_type = wanted.identifier_type collate "C" and value = wanted.value collate "C" offset 0
           ) as contested
           union all
           select conflict_id, null, null, item_number from contested_items where item_number = any($3::int8[])`,
    values: [...claimColumns(keys), int8Array(itemNumbers)],
  });
  return rows.map((row) => ({
    conflictId: row.conflict_id,
    key: row.identifier_type === null ? undefined : claimKey(row.identifier_type, row.value!),
    itemNumber: row.item_number ?? undefined,
  }));
}

/** Claims that lead any workspace alone from one of these identifiers, or to one of these items. */
export async function findWorkspaceLinks(
  queryable: Queryable,
  keys: readonly string[],
  itemNumbers: readonly number[],
): Promise<{ key: string; itemNumber: number }[]> {
  const { rows } = await queryable.query<{ identifier_type: string; value: string; item_number: number }>({
    name: 'find_workspace_links',
    text: `select wanted.identifier_type, wanted.value, claims.item_number
           from unnest($1::text[], $2::text[]) as wanted (identifier_type, value)
           cross join lateral (
             select item_number from workspace_claims
             where identifier_type = wanted.identifier_type collate "C" and value = wanted.value collate "C" offset 0
           ) as claims
           union
           select claims.identifier_type, claims.value, claims.item_number
           from unnest($3::int8[]) as touched (item_number)
           cross join lateral (
             select identifier_type, value, item_number from workspace_claims where item_number = touched.item_number offset 0
           ) as claims`,
    values: [...claimColumns(keys), int8Array(itemNumbers)],
  });
  return rows.map((row) => ({ key: claimKey(row.identifier_type, row.value), itemNumber: row.item_number }));
}

export async function insertCases(queryable: Queryable, conflictIds: readonly string[]): Promise<void> {
  if (conflictIds.length === 0) return;
  await queryable.query({
    name: 'insert_cases',
    text: `insert into conflicts (conflict_id) select * from unnest($1::uuid[])`,
    values: [uuidArray(conflictIds)],
  });
}

/** Makes several open cases one. */
export async function joinCases(
  queryable: Queryable,
  joined: readonly { from: readonly string[]; into: string }[],
): Promise<void> {
  const from = uuidArray(joined.flatMap((each) => each.from));
  const into = uuidArray(joined.flatMap((each) => each.from.map(() => each.into)));
  if (joined.length === 0) return;
  const pairs = 'unnest($1::uuid[], $2::uuid[]) as joined (old_id, new_id)';
  await queryable.query({
    name: 'join_cases',
    text: `update conflicts set status = 'joined', joined_into = joined.new_id from ${pairs} where conflict_id = joined.old_id`,
    values: [from, into],
  });
  for (const table of ['conflict_entries', 'contested_claims', 'contested_items']) {
    await queryable.query({
      name: `join_cases_${table}`,
      text: `update ${table} set conflict_id = joined.new_id from ${pairs} where conflict_id = joined.old_id`,
      values: [from, into],
    });
  }
  await queryable.query({
    name: 'join_cases_participants',
    text: `insert into conflict_participants (workspace_id, conflict_id)
           select distinct workspace_id, joined.new_id from conflict_participants join ${pairs} on conflict_id = joined.old_id
           on conflict do nothing`,
    values: [from, into],
  });
}

/** What belongs to one case. */
export interface CaseParts {
  readonly conflictId: string;
  readonly entries: readonly string[];
  readonly keys: readonly string[];
  readonly itemNumbers: readonly number[];
  readonly workspaceIds: readonly string[];
}

/** Adds to cases what is not in them yet. */
export async function insertCaseParts(queryable: Queryable, parts: readonly CaseParts[]): Promise<void> {
  if (parts.length === 0) return;
  const idsFor = (pick: (part: CaseParts) => readonly unknown[]) =>
    uuidArray(parts.flatMap((part) => pick(part).map(() => part.conflictId)));
  const all = <Value>(pick: (part: CaseParts) => readonly Value[]) => parts.flatMap((part) => [...pick(part)]);
  await Promise.all([
    queryable.query({
      name: 'insert_conflict_entries',
      text: `insert into conflict_entries (entry_id, conflict_id)
             select * from unnest($1::uuid[], $2::uuid[])
             on conflict (entry_id) do update set conflict_id = excluded.conflict_id`,
      values: [uuidArray(all((part) => part.entries)), idsFor((part) => part.entries)],
    }),
    queryable.query({
      name: 'insert_contested_claims',
      text: `insert into contested_claims (identifier_type, value, conflict_id)
             select * from unnest($1::text[], $2::text[], $3::uuid[]) on conflict do nothing`,
      values: [...claimColumns(all((part) => part.keys)), idsFor((part) => part.keys)],
    }),
    queryable.query({
      name: 'insert_contested_items',
      text: `insert into contested_items (item_number, conflict_id)
             select * from unnest($1::int8[], $2::uuid[]) on conflict do nothing`,
      values: [int8Array(all((part) => part.itemNumbers)), idsFor((part) => part.itemNumbers)],
    }),
    queryable.query({
      name: 'insert_conflict_participants',
      text: `insert into conflict_participants (workspace_id, conflict_id)
             select * from unnest($1::uuid[], $2::uuid[]) on conflict do nothing`,
      values: [uuidArray(all((part) => part.workspaceIds)), idsFor((part) => part.workspaceIds)],
    }),
  ]);
}

/** An entry that waits in an open case. */
export interface WaitingEntry {
  readonly entryId: string;
  readonly conflictId: string;
  readonly workspaceId: string;
  readonly record: StoredRecord;
  /** The keys of what identifies the thing that it speaks of. */
  readonly claims: readonly string[];
  readonly contradictions: readonly Contradiction[];
}

export async function findWaitingEntries(
  queryable: Queryable,
  conflictIds: readonly string[],
): Promise<WaitingEntry[]> {
  const { rows } = await queryable.query<{
    entry_id: string;
    conflict_id: string;
    workspace_id: string;
    record: StoredRecord;
    contradictions: Contradiction[] | null;
  }>({
    name: 'find_waiting_entries',
    text: `select parts.entry_id, conflict_id, entries.workspace_id, entries.record, entries.error -> 'contradictions' as contradictions
           from conflict_entries as parts join entries on entries.entry_id = parts.entry_id
           where conflict_id = any($1::uuid[]) and entries.status = 'conflicted'
           order by parts.entry_id`,
    values: [uuidArray(conflictIds)],
  });
  return rows.map((row) => ({
    entryId: row.entry_id,
    conflictId: row.conflict_id,
    workspaceId: row.workspace_id,
    record: row.record,
    claims: claimsOfRecord(row.record),
    contradictions: row.contradictions ?? [],
  }));
}

/** The items that own keys for all. */
export async function findOwnersOfKeys(
  queryable: Queryable,
  keys: readonly string[],
): Promise<{ key: string; itemNumber: number }[]> {
  const { rows } = await queryable.query<{ identifier_type: string; value: string; item_number: number }>({
    name: 'find_owners_of_keys',
    text: `select claims.identifier_type, claims.value, claims.item_number
           from unnest($1::text[], $2::text[]) as wanted (identifier_type, value)
           join identifier_claims as claims
             on claims.identifier_type = wanted.identifier_type collate "C" and claims.value = wanted.value collate "C"`,
    values: claimColumns(keys),
  });
  return rows.map((row) => ({ key: claimKey(row.identifier_type, row.value), itemNumber: row.item_number }));
}

/** Frees what belongs to cases, so that it can be told anew or does not belong to any. */
export async function clearCases(queryable: Queryable, conflictIds: readonly string[]): Promise<void> {
  for (const table of ['contested_claims', 'contested_items']) {
    await queryable.query({
      name: `clear_cases_${table}`,
      text: `delete from ${table} where conflict_id = any($1::uuid[])`,
      values: [uuidArray(conflictIds)],
    });
  }
}

/** Closes cases in which nothing waits any longer. */
export async function closeCases(queryable: Queryable, conflictIds: readonly string[]): Promise<void> {
  await queryable.query({
    name: 'close_cases',
    text: `update conflicts set status = 'resolved', resolved_at = now(), action = 'withdrawn'
           where conflict_id = any($1::uuid[]) and status = 'open'`,
    values: [uuidArray(conflictIds)],
  });
}

/** Lets all who contribute to the items of cases see them. */
export async function addContributors(queryable: Queryable, conflictIds: readonly string[]): Promise<void> {
  await queryable.query({
    name: 'add_contributors',
    text: `insert into conflict_participants (workspace_id, conflict_id)
           select distinct contributions.workspace_id, contested.conflict_id
           from contested_items as contested join contributions on contributions.item_number = contested.item_number
           where contested.conflict_id = any($1::uuid[])
           on conflict do nothing`,
    values: [uuidArray(conflictIds)],
  });
}

/** What persons decided about records of a workspace with the same identifiers; `item_number` null: reject. */
export async function findDecisions(
  queryable: Queryable,
  workspaceId: string,
  evidenceHashes: readonly Buffer[],
): Promise<{ evidence_hash: Buffer; item_number: number | null; conflict_id: string }[]> {
  if (evidenceHashes.length === 0) return [];
  const { rows } = await queryable.query<{ evidence_hash: Buffer; item_number: number | null; conflict_id: string }>({
    name: 'find_decisions',
    text: `select decisions.evidence_hash, coalesce(items.merged_into, items.item_number) as item_number, conflict_id
           from remembered_decisions as decisions
           left join items on items.item_number = decisions.item_number
           where decisions.workspace_id = $1 and decisions.evidence_hash = any($2::bytea[])`,
    values: [workspaceId, byteaArray(evidenceHashes)],
  });
  return rows;
}

export interface CaseRow {
  conflict_id: string;
  status: 'open' | 'resolved' | 'joined';
  joined_into: string | null;
  opened_at: Date;
  resolved_at: Date | null;
  resolved_by: string | null;
  action: string | null;
  reason: string | null;
  item_numbers: number[];
  target_item: number | null;
  contradictions: Record<string, Contradiction[]> | null;
}

/** The columns of a {@link CaseRow}. */
export const caseColumns =
  'conflict_id, status, joined_into, opened_at, resolved_at, resolved_by, action, reason, item_numbers, target_item, contradictions';

/** A case, if the workspace takes part in it; of any case when no workspace is named. One that became another gives that. */
export async function findCase(
  queryable: Queryable,
  workspaceId: string | null,
  conflictId: string,
): Promise<CaseRow | undefined> {
  const { rows } = await queryable.query<CaseRow>({
    name: 'find_case',
    text: `with recursive followed as (
             select ${caseColumns} from conflicts where conflict_id = $1
             union all
             select ${caseColumns
               .split(', ')
               .map((column) => `conflicts.${column}`)
               .join(', ')}
             from conflicts join followed on conflicts.conflict_id = followed.joined_into
           )
           select ${caseColumns} from followed
           where status <> 'joined'
             and ($2::uuid is null or exists (
               select 1 from conflict_participants as participants
               where participants.conflict_id = followed.conflict_id and participants.workspace_id = $2))`,
    values: [conflictId, workspaceId],
  });
  return rows.map(withNumbers)[0];
}

/** The driver reads bigint arrays as texts. */
export function withNumbers(row: CaseRow): CaseRow {
  return { ...row, item_numbers: row.item_numbers.map(Number) };
}

/** The items of cases as they are now, each once. */
export async function findItemsOfCases(
  queryable: Queryable,
  conflictIds: readonly string[],
): Promise<{ conflict_id: string; item_number: number }[]> {
  const { rows } = await queryable.query<{ conflict_id: string; item_number: number }>({
    name: 'find_items_of_cases',
    text: `select distinct conflict_id, coalesce(items.merged_into, items.item_number) as item_number
           from contested_items as contested join items on items.item_number = contested.item_number
           where conflict_id = any($1::uuid[]) order by item_number`,
    values: [uuidArray(conflictIds)],
  });
  return rows;
}

export interface ContestedClaimRow {
  item_number: number;
  identifier_type: string;
  value: string;
  entry_id: string;
  workspace_id: string;
}

/** What identifies items, with the entry that first said so. */
export async function findClaimsWithEntries(
  queryable: Queryable,
  itemNumbers: readonly number[],
): Promise<ContestedClaimRow[]> {
  const { rows } = await queryable.query<ContestedClaimRow>({
    name: 'find_claims_with_entries',
    text: `select claims.item_number, identifier_type, value, claims.entry_id, entries.workspace_id
           from identifier_claims as claims join entries on entries.entry_id = claims.entry_id
           where claims.item_number = any($1::int8[]) order by claims.item_number, identifier_type, value`,
    values: [int8Array(itemNumbers)],
  });
  return rows;
}

/**
 * Closes a case by a person's decision. False when it is not open any longer, or the entries in it are not just those that
 * the decision was about.
 */
export async function resolveCase(
  queryable: Queryable,
  resolution: {
    conflictId: string;
    entryIds: readonly string[];
    itemNumbers: readonly number[];
    action: string;
    by: string;
    reason: string | null;
    targetItem: number | null;
    contradictions: Readonly<Record<string, readonly Contradiction[]>>;
  },
): Promise<boolean> {
  await lockCases(queryable);
  const { rowCount } = await queryable.query({
    name: 'resolve_case',
    text: `update conflicts set status = 'resolved', resolved_at = now(), resolved_by = $2, action = $3, reason = $4, item_numbers = $5::int8[],
                                target_item = $7, contradictions = $8::json
           where conflict_id = $1 and status = 'open'
             and not exists (
               select 1 from conflict_entries as parts join entries on entries.entry_id = parts.entry_id
               where parts.conflict_id = $1 and entries.status = 'conflicted' and parts.entry_id <> all($6::uuid[]))
             and (select count(*) from conflict_entries where entry_id = any($6::uuid[]) and conflict_id = $1) = cardinality($6::uuid[])`,
    values: [
      resolution.conflictId,
      resolution.by,
      resolution.action,
      resolution.reason,
      int8Array(resolution.itemNumbers),
      uuidArray(resolution.entryIds),
      resolution.targetItem,
      JSON.stringify(resolution.contradictions),
    ],
  });
  if (rowCount === 0) return false;
  await clearCases(queryable, [resolution.conflictId]);
  return true;
}

/** Keeps what was decided about records with the same identifiers. */
export async function rememberDecisions(
  queryable: Queryable,
  conflictId: string,
  decisions: readonly { workspaceId: string; evidenceHash: Buffer; itemNumber: number | null }[],
): Promise<void> {
  await queryable.query({
    name: 'remember_decisions',
    text: `insert into remembered_decisions (workspace_id, evidence_hash, action, item_number, conflict_id)
           select distinct on (workspace_id, evidence_hash) workspace_id, evidence_hash,
                  case when item_number is null then 'reject' else 'attach' end, item_number, $4
           from unnest($1::uuid[], $2::bytea[], $3::int8[]) as new (workspace_id, evidence_hash, item_number)
           on conflict (workspace_id, evidence_hash)
             do update set action = excluded.action, item_number = excluded.item_number, conflict_id = excluded.conflict_id`,
    values: [
      uuidArray(decisions.map((decision) => decision.workspaceId)),
      byteaArray(decisions.map((decision) => decision.evidenceHash)),
      int8Array(decisions.map((decision) => decision.itemNumber)),
      conflictId,
    ],
  });
}

/** The workspaces that take part in a case. */
export async function findParticipants(queryable: Queryable, conflictId: string): Promise<string[]> {
  const { rows } = await queryable.query<{ workspace_id: string }>({
    name: 'find_participants',
    text: 'select workspace_id from conflict_participants where conflict_id = $1',
    values: [conflictId],
  });
  return rows.map((row) => row.workspace_id);
}

/** Which of these entries waited until a person gave them to an item. */
export async function findAcceptedEntries(
  queryable: Queryable,
  entryIds: readonly string[],
): Promise<ReadonlySet<string>> {
  const { rows } = await queryable.query<{ entry_id: string }>({
    name: 'find_accepted_entries',
    text: `select entry_id from conflict_entries join conflicts using (conflict_id)
           where entry_id = any($1::uuid[]) and action in ('merge', 'attach', 'separate')`,
    values: [uuidArray(entryIds)],
  });
  return new Set(rows.map((row) => row.entry_id));
}

/** Forgets what was decided about evidence that belongs to one of these items. */
export async function forgetDecisionsFor(queryable: Queryable, itemNumbers: readonly number[]): Promise<void> {
  await queryable.query({
    name: 'forget_decisions_for',
    text: 'delete from remembered_decisions where item_number = any($1::int8[])',
    values: [int8Array(itemNumbers)],
  });
}

/** Forgets what was decided about this evidence. */
export async function forgetDecisionsOn(
  queryable: Queryable,
  evidence: readonly { workspaceId: string; evidenceHash: Buffer }[],
): Promise<void> {
  if (evidence.length === 0) return;
  await queryable.query({
    name: 'forget_decisions_on',
    text: `delete from remembered_decisions as decisions using unnest($1::uuid[], $2::bytea[]) as forgotten (workspace_id, evidence_hash)
           where decisions.workspace_id = forgotten.workspace_id and decisions.evidence_hash = forgotten.evidence_hash`,
    values: [
      uuidArray(evidence.map(({ workspaceId }) => workspaceId)),
      byteaArray(evidence.map(({ evidenceHash }) => evidenceHash)),
    ],
  });
}

/** Which case each of these entries is in. */
export async function findCasesOfEntries(
  queryable: Queryable,
  entryIds: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  if (entryIds.length === 0) return new Map();
  const { rows } = await queryable.query<{ entry_id: string; conflict_id: string }>({
    name: 'find_cases_of_entries',
    text: 'select entry_id, conflict_id from conflict_entries where entry_id = any($1::uuid[])',
    values: [uuidArray(entryIds)],
  });
  return new Map(rows.map((row) => [row.entry_id, row.conflict_id]));
}

/** Claims of these keys that lead one workspace alone to an item. */
export async function findWorkspaceClaimsOf(
  queryable: Queryable,
  keys: readonly string[],
): Promise<{ key: string; workspaceId: string }[]> {
  const { rows } = await queryable.query<{ identifier_type: string; value: string; workspace_id: string }>({
    name: 'find_workspace_claims_of',
    text: `select claims.identifier_type, claims.value, claims.workspace_id
           from unnest($1::text[], $2::text[]) as wanted (identifier_type, value)
           join workspace_claims as claims
             on claims.identifier_type = wanted.identifier_type collate "C" and claims.value = wanted.value collate "C"`,
    values: claimColumns(keys),
  });
  return rows.map((row) => ({ key: claimKey(row.identifier_type, row.value), workspaceId: row.workspace_id }));
}
