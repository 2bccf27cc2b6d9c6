import type { Cluster } from './cluster.ts';
import type { Differences } from './differences.ts';
import type { Load } from './load.ts';
import type { ExpectedContribution, Truth } from './truth.ts';

interface StoredEntry {
  receipt_id: string;
  position: number;
  item_number: string | null;
  status: string;
  outcome: string | null;
  error_code: string | null;
}

interface StoredItem {
  item_number: string;
  merged_into: string | null;
  value_chain: string;
}

interface StoredContribution {
  item_number: string;
  workspace_id: string;
  identifiers: [string, string, string, string, number, number][];
  fields: Record<string, [unknown, number, number]>;
}

/** Which item each item has become, by number. */
type Survivors = ReadonlyMap<string, string>;

/**
 * Compares entries, items, identifiers, field values and submitted events with the truth: the same partition, the same
 * values, nothing twice and nothing lost.
 */
export async function compareItems(
  cluster: Cluster,
  load: Load,
  truth: Truth,
  differences: Differences,
): Promise<void> {
  const items = await cluster.query<StoredItem>('select item_number, merged_into, value_chain from items');
  const survivors: Survivors = new Map(items.map((item) => [item.item_number, item.merged_into ?? item.item_number]));
  const numbers = await comparePartition(cluster, load, truth, survivors, differences);
  for (const item of items) {
    if (item.merged_into !== null) continue;
    const index = numbers.indexOf(item.item_number);
    if (index === -1) differences.add(`item ${item.item_number} is none of those that the records speak of`);
    else
      differences.compare(
        `the value chain of item ${item.item_number}`,
        item.value_chain,
        truth.items[index]!.valueChain,
      );
  }
  await compareCreations(cluster, items, differences);
  await compareContributions(cluster, truth, numbers, differences);
  await compareIdentifiers(cluster, truth, numbers, survivors, differences);
  await compareEvents(cluster, truth, numbers, survivors, differences);
}

/** The number of each expected item; entries of one expected item must be of one stored item, and the reverse. */
async function comparePartition(
  cluster: Cluster,
  load: Load,
  truth: Truth,
  survivors: Survivors,
  differences: Differences,
): Promise<readonly (string | undefined)[]> {
  const entries = await cluster.query<StoredEntry>(
    `select left(entry_id::text, 30) || '000000' as receipt_id,
            ('x' || right(entry_id::text, 6))::bit(24)::int4 - 1 as position,
            item_number, status, outcome, error ->> 'code' as error_code from entries`,
  );
  const entryByPlace = new Map(entries.map((entry) => [`${entry.receipt_id} ${entry.position}`, entry]));
  const numbers: (string | undefined)[] = truth.items.map(() => undefined);
  const indexByNumber = new Map<string, number>();
  let expectedCount = 0;
  for (const { submission, items } of truth.receipts) {
    expectedCount += submission.records.length;
    for (const [position, { fate }] of submission.records.entries()) {
      const place = `${load.receiptIdOf(submission)} ${position}`;
      const entry = entryByPlace.get(place);
      if (!entry) {
        differences.add(`there is no entry ${place}`);
        continue;
      }
      differences.compare(`the status of entry ${place}`, entry.status, fate.status);
      if ('code' in fate) differences.compare(`the reason of entry ${place}`, entry.error_code, fate.code);
      const index = items[position];
      if (index === undefined || entry.item_number === null) {
        if (index !== undefined || entry.item_number !== null)
          differences.add(`entry ${place} belongs to the item ${entry.item_number}, expected ${index ?? 'none'}`);
        continue;
      }
      const number = survivors.get(entry.item_number);
      if (number === undefined) {
        differences.add(`entry ${place} belongs to item ${entry.item_number}, which does not exist`);
        continue;
      }
      const known = numbers[index];
      if (known === undefined) numbers[index] = number;
      else if (known !== number) differences.add(`one thing is the items ${known} and ${number} (entry ${place})`);
      const sameNumber = indexByNumber.get(number);
      if (sameNumber === undefined) indexByNumber.set(number, index);
      else if (sameNumber !== index) differences.add(`item ${number} is several things (entry ${place})`);
    }
  }
  differences.compare('the number of entries', entries.length, expectedCount);
  return numbers;
}

/** Every item that was ever made was made by exactly one entry, and says so once. */
async function compareCreations(
  cluster: Cluster,
  items: readonly StoredItem[],
  differences: Differences,
): Promise<void> {
  const creations = await cluster.query<{ item_number: string; entries: number; events: number }>(
    `select item_number,
            (select count(*)::int4 from entries where entries.item_number = items.item_number and outcome = 'created') as entries,
            (select count(*)::int4 from events where events.item_number = items.item_number and event_type = 'item_created') as events
     from items`,
  );
  for (const { item_number: itemNumber, entries, events } of creations) {
    if (entries !== 1) differences.add(`item ${itemNumber} was created by ${entries} entries`);
    if (events !== 1) differences.add(`item ${itemNumber} has ${events} events item_created`);
  }
  const [enriched] = await cluster.query<{ entries: number; events: number }>(
    `select (select count(*)::int4 from entries where outcome = 'enriched') as entries,
            (select count(*)::int4 from events where event_type = 'item_enriched') as events`,
  );
  differences.compare('the number of events item_enriched', enriched!.events, enriched!.entries);
  const [merges] = await cluster.query<{ merges: number }>('select count(*)::int4 as merges from item_merges');
  const losers = items.filter((item) => item.merged_into !== null).length;
  differences.compare('the number of merges', merges!.merges, losers);
}

async function compareContributions(
  cluster: Cluster,
  truth: Truth,
  numbers: readonly (string | undefined)[],
  differences: Differences,
): Promise<void> {
  const rows = await cluster.query<StoredContribution>(
    `select item_number, workspace_id, state -> 'identifiers' as identifiers, state -> 'fields' as fields
     from contributions join items using (item_number) where merged_into is null`,
  );
  const byPlace = new Map(rows.map((row) => [`${row.item_number} ${row.workspace_id}`, row]));
  let expectedCount = 0;
  for (const [index, item] of truth.items.entries()) {
    for (const [workspace, expected] of item.contributions) {
      expectedCount += 1;
      const place = `${numbers[index]} ${cluster.workspaces[workspace]!.workspaceId}`;
      const row = byPlace.get(place);
      if (row) compareContribution(place, row, expected, differences);
      else differences.add(`there is no contribution ${place}`);
    }
  }
  differences.compare('the number of contributions', rows.length, expectedCount);
}

function compareContribution(
  place: string,
  row: StoredContribution,
  expected: ExpectedContribution,
  differences: Differences,
): void {
  const identifiers = row.identifiers.map(([, , claimType, value]) => `${claimType} ${value}`);
  differences.compareSets(`the identifiers of contribution ${place}`, identifiers, expected.identifiers);
  if (identifiers.length !== expected.identifiers.size)
    differences.add(`contribution ${place} has an identifier twice`);
  const sorted = (value: unknown) => JSON.stringify(value, sortedKeysOf(value));
  differences.compareSets(
    `the fields of contribution ${place}`,
    Object.entries(row.fields).map(([name, [value]]) => `${name} = ${sorted(value)}`),
    [...expected.fields].map(([name, text]) => `${name} = ${sorted(JSON.parse(text))}`),
  );
}

function sortedKeysOf(value: unknown): string[] | undefined {
  return typeof value === 'object' && value !== null ? Object.keys(value).toSorted() : undefined;
}

async function compareIdentifiers(
  cluster: Cluster,
  truth: Truth,
  numbers: readonly (string | undefined)[],
  survivors: Survivors,
  differences: Differences,
): Promise<void> {
  const claims = await cluster.query<{ identifier_type: string; value: string; item_number: string }>(
    `select identifier_type, value, item_number from identifier_claims where identifier_type not like 'fingerprint:%'`,
  );
  const mentions = await cluster.query<{
    workspace_id: string;
    identifier_type: string;
    value: string;
    item_number: string;
  }>('select workspace_id, identifier_type, value, item_number from identifier_mentions');
  const expectedClaims: string[] = [];
  const expectedMentions: string[] = [];
  const canonicalTypes = new Set(['sisbov', 'chip', 'official_transponder', 'sgtin']);
  let lots = 0;
  for (const [index, item] of truth.items.entries()) {
    for (const [workspace, { identifiers }] of item.contributions) {
      if (item.valueChain === 'SOY') lots += 1;
      for (const identifier of identifiers) {
        const isCanonical = canonicalTypes.has(identifier.slice(0, identifier.indexOf(' ')));
        if (isCanonical) expectedClaims.push(`${identifier} of ${numbers[index]}`);
        else
          expectedMentions.push(`${identifier} of ${numbers[index]} in ${cluster.workspaces[workspace]!.workspaceId}`);
      }
    }
  }
  differences.compareSets(
    'what identifies items',
    claims.map((claim) => `${claim.identifier_type} ${claim.value} of ${claim.item_number}`),
    expectedClaims,
  );
  differences.compareSets(
    'what can be searched',
    mentions.map(
      (mention) =>
        `${mention.identifier_type} ${mention.value} of ${survivors.get(mention.item_number)} in ${mention.workspace_id}`,
    ),
    expectedMentions,
  );
  const [fingerprints] = await cluster.query<{ count: number }>(
    `select count(*)::int4 from identifier_claims where identifier_type like 'fingerprint:%'`,
  );
  differences.compare('the number of lots that identify an item', fingerprints!.count, lots);
}

async function compareEvents(
  cluster: Cluster,
  truth: Truth,
  numbers: readonly (string | undefined)[],
  survivors: Survivors,
  differences: Differences,
): Promise<void> {
  const rows = await cluster.query<{ item_number: string; workspace_id: string; kilograms: number; count: number }>(
    `select item_number, workspace_id, event_key, (payload ->> 'kilograms')::int4 as kilograms, count(*)::int4
     from events where event_key is not null group by 1, 2, 3, 4`,
  );
  const counted = (texts: readonly string[]) =>
    [...Map.groupBy(texts, (text) => text)].map(([text, { length }]) => `${length} events of ${text}`);
  const expected = truth.items.flatMap((item, index) =>
    [...item.contributions].flatMap(([workspace, { events }]) =>
      [...events.values()].map(
        (kilograms) => `${kilograms} kg at ${numbers[index]} in ${cluster.workspaces[workspace]!.workspaceId}`,
      ),
    ),
  );
  const got = rows.flatMap((row) =>
    Array.from(
      { length: row.count },
      () => `${row.kilograms} kg at ${survivors.get(row.item_number)} in ${row.workspace_id}`,
    ),
  );
  differences.compareSets('what was submitted as events', counted(got), counted(expected));
}
