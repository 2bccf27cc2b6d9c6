import { int8Array, uuidArray } from '#platform/binary-arrays.ts';
import type { Knex, Queryable } from '#platform/database.ts';

/** The circuit that a sender named for an entry or for an event that came without one. */
export interface NamedCircuit {
  /** The entry or the event. */
  readonly sourceId: string;
  readonly circuitId: string;
}

/** Keeps which circuits were named. Nobody checks that they exist. */
export async function insertNamedCircuits(
  queryable: Queryable,
  workspaceId: string,
  named: readonly NamedCircuit[],
): Promise<void> {
  if (named.length === 0) return;
  await queryable.query({
    name: 'insert_named_circuits',
    text: `insert into named_circuits (source_id, workspace_id, circuit_id)
           select source_id, $1::uuid, circuit_id from unnest($2::uuid[], $3::uuid[]) as named (source_id, circuit_id)
           on conflict (source_id) do nothing`,
    values: [
      workspaceId,
      uuidArray(named.map(({ sourceId }) => sourceId)),
      uuidArray(named.map(({ circuitId }) => circuitId)),
    ],
  });
}

/** The circuit that was first named for each of these items of a workspace, by the numbers of what they are part of now. */
export async function findCircuitsOfItems(
  queryable: Queryable,
  workspaceId: string,
  itemNumbers: readonly number[],
): Promise<Map<number, string>> {
  const { rows } = await queryable.query<{ root: number; circuit_id: string }>({
    name: 'find_circuits_of_items',
    text: `select distinct on (root) root, circuit_id
           from (select item_number, coalesce(merged_into, item_number) as root from items
                 where item_number = any($1::int8[]) or merged_into = any($1::int8[])) as members
           join entries using (item_number) join named_circuits on source_id = entry_id
           where entries.workspace_id = $2 and named_circuits.workspace_id = $2 and withdrawn_at is null
           order by root, received_sequence, entry_id`,
    values: [int8Array(itemNumbers), workspaceId],
  });
  return new Map(rows.map(({ root, circuit_id: circuitId }) => [root, circuitId]));
}

/** The circuits that were named for entries or events of a workspace. */
export async function findCircuitsOfSources(
  queryable: Queryable,
  workspaceId: string,
  sourceIds: readonly string[],
): Promise<Map<string, string>> {
  const { rows } = await queryable.query<{ source_id: string; circuit_id: string }>({
    name: 'find_circuits_of_sources',
    text: 'select source_id, circuit_id from named_circuits where workspace_id = $1 and source_id = any($2::uuid[])',
    values: [workspaceId, uuidArray(sourceIds)],
  });
  return new Map(rows.map(({ source_id: sourceId, circuit_id: circuitId }) => [sourceId, circuitId]));
}

/** A condition that holds for contributions with an entry for which this circuit was named. */
export function isItemOfCircuit(knex: Knex, workspaceId: string, circuitId: string): Knex.Raw {
  return knex.raw(
    `contributions.item_number in (
       select coalesce(merged_into, item_number) from named_circuits
       join entries on entry_id = source_id join items using (item_number)
       where named_circuits.workspace_id = ? and circuit_id = ? and withdrawn_at is null)`,
    [workspaceId, circuitId],
  );
}

/** A condition that holds for events for which, or for whose entries, this circuit was named. */
export function isEventOfCircuit(knex: Knex, workspaceId: string, circuitId: string): Knex.Raw {
  const sources = 'select source_id from named_circuits where workspace_id = ? and circuit_id = ?';
  return knex.raw(`(events.event_id in (${sources}) or events.entry_id in (${sources}))`, [
    workspaceId,
    circuitId,
    workspaceId,
    circuitId,
  ]);
}
