import type { Client } from 'pg';
import { identifierOf, type RecordPlan } from './cattle-records.ts';
import { BenchFault } from './report.ts';

/** What a database must hold, in rows. */
export interface ExpectedRows {
  readonly entries: number;
  readonly items: number;
}

const comparedAtOnce = 20_000;

/**
 * Counts what the pipeline made: every record an entry, all completed, none lost and none twice.
 * @throws BenchFault naming each number that differs.
 */
export async function verifyRows(client: Client, expected: ExpectedRows): Promise<void> {
  const { rows } = await client.query<Record<string, number>>(`
    select (select count(*) from entries) as entries,
           (select count(*) from entries where status = 'completed') as completed_entries,
           (select count(*) from entries where outcome = 'created') as creating_entries,
           (select coalesce(sum(completed), 0) from receipt_chunks)::int8 as completed_in_chunks,
           (select count(*) from receipts where outcome is distinct from 'completed') as receipts_not_completed,
           (select count(*) from items where merged_into is null) as items,
           (select count(*) from contributions) as contributions,
           (select count(*) from identifier_claims) as claims,
           (select count(*) from events where event_type = 'item_created') as creation_events`);
  compare('rows', rows[0]!, {
    entries: expected.entries,
    completed_entries: expected.entries,
    creating_entries: expected.items,
    completed_in_chunks: expected.entries,
    receipts_not_completed: 0,
    items: expected.items,
    contributions: expected.items,
    claims: 2 * expected.items,
    creation_events: expected.items,
  });
}

/**
 * Compares every animal of a plan: one item owns both of its identifiers, and has the weight that was sent last.
 * @throws BenchFault with the number of wrong ones.
 */
export async function verifyAnimals(client: Client, plan: Pick<RecordPlan, 'finalWeights'>): Promise<void> {
  const animals = [...plan.finalWeights];
  let right = 0;
  for (let start = 0; start < animals.length; start += comparedAtOnce) {
    const part = animals.slice(start, start + comparedAtOnce);
    const { rows } = await client.query<{ right: number }>(
      `select count(*) as right
       from unnest($1::text[], $2::text[], $3::text[]) as truth (sisbov, chip, weight)
       join identifier_claims as by_sisbov on by_sisbov.identifier_type = 'sisbov' and by_sisbov.value = truth.sisbov
       join identifier_claims as by_chip
         on by_chip.identifier_type = 'chip' and by_chip.value = truth.chip and by_chip.item_number = by_sisbov.item_number
       join items on items.item_number = by_sisbov.item_number and items.merged_into is null
       join contributions on contributions.item_number = items.item_number
       where contributions.state -> 'fields' -> 'weight_kg' ->> 0 = truth.weight`,
      [
        part.map(([animal]) => identifierOf('sisbov', animal)),
        part.map(([animal]) => identifierOf('chip', animal)),
        part.map(([, weight]) => weight),
      ],
    );
    right += rows[0]!.right;
  }
  compare('animals', { right }, { right: animals.length });
}

/**
 * Compares what became of the records about items that were stored before, whose numbers are 1 to `stored`: those that
 * repeat must have changed nothing, and those that add must have. So stored items are what the product would have made.
 * @throws BenchFault naming each number that differs.
 */
export async function verifyStoredVisits(client: Client, plan: RecordPlan, stored: number): Promise<void> {
  const { rows } = await client.query<Record<string, number>>(
    `select count(*) filter (where outcome = 'enriched') as enriched, count(*) filter (where outcome = 'duplicate') as duplicate
     from entries where item_number <= $1`,
    [stored],
  );
  const visits = [...plan.animals.entries()].filter(([, animal]) => animal < stored);
  const enriched = visits.filter(([at]) => plan.isWeighedAgain[at] === 1).length;
  compare('stored items', rows[0]!, { enriched, duplicate: visits.length - enriched });
}

/** @throws BenchFault naming each number that differs. */
export function compare(
  what: string,
  found: Readonly<Record<string, number>>,
  expected: Readonly<Record<string, number>>,
): void {
  const faults = Object.entries(expected)
    .filter(([name, value]) => found[name] !== value)
    .map(([name, value]) => `${name}: found ${found[name] ?? 'nothing'}, expected ${value}`);
  if (faults.length > 0) throw new BenchFault(`The run is wrong (${what}): ${faults.join('; ')}.`);
}
