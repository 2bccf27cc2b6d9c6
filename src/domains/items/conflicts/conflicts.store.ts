import { byteaArray, int8Array, textArray, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import { claimKey, splitClaimKey } from '../judge-record.ts';
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

function claimColumns(keys: readonly string[]): [types: Buffer, values: Buffer] {
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
  }>({
    name: 'find_waiting_entries',
    text: `select parts.entry_id, conflict_id, entries.workspace_id, entries.record
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
): Promise<{ evidence_hash: Buffer; item_number: number | null }[]> {
  if (evidenceHashes.length === 0) return [];
  const { rows } = await queryable.query<{ evidence_hash: Buffer; item_number: number | null }>({
    name: 'find_decisions',
    text: `select decisions.evidence_hash, coalesce(items.merged_into, items.item_number) as item_number
           from remembered_decisions as decisions
           left join items on items.item_number = decisions.item_number
           where decisions.workspace_id = $1 and decisions.evidence_hash = any($2::bytea[])`,
    values: [workspaceId, byteaArray(evidenceHashes)],
  });
  return rows;
}
