import { createTestDatabase, type TestDatabase } from '../../testing/database.ts';
import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  firstValuesSql,
  identifierOf,
  ndjsonOf,
  placeholderRecordText,
  planRecords,
  recordText,
  taggedPlaceholderText,
  taggedRecordText,
  weightOf,
} from './cattle-records.ts';

let database: TestDatabase;
let client: Client;

beforeAll(async () => {
  database = await createTestDatabase();
  client = new Client({ connectionString: database.url });
  await client.connect();
});

afterAll(async () => {
  await client.end();
  await database.drop();
});

const someAnimals = [0, 1, 399, 400, 699, 700, 12_345, 999_999, 2_999_999];

describe('records', () => {
  test('have exactly the size that is asked for, whatever the animal', () => {
    for (const animal of someAnimals) {
      expect(Buffer.byteLength(recordText(animal, false, 600))).toBe(600);
      expect(Buffer.byteLength(recordText(animal, true, 616))).toBe(616);
      expect(Buffer.byteLength(taggedRecordText(animal, '899.5'))).toBe(616);
    }
    expect(Buffer.byteLength(placeholderRecordText())).toBe(616);
    expect(Buffer.byteLength(taggedPlaceholderText())).toBe(616);
  });

  test('share no identifier between animals', () => {
    const count = 100_000;
    const values = new Set<string>();
    for (let animal = 0; animal < count; animal += 1) {
      values.add(identifierOf('sisbov', animal)).add(identifierOf('chip', animal));
    }
    expect(values.size).toBe(2 * count);
  });

  test('have the values that SQL makes for the same animal', async () => {
    const columns = Object.entries(firstValuesSql('n')).map(([name, expression]) => `${expression} as ${name}`);

    const { rows } = await client.query<Record<string, string>>(
      `select ${columns.join(', ')} from unnest($1::int[]) as n`,
      [someAnimals],
    );

    const sent = someAnimals.map((animal) => {
      const { identifiers, metadata } = JSON.parse(taggedRecordText(animal, weightOf(animal, false))) as {
        identifiers: { value: string }[];
        metadata: { breed: string; sex: string; birth_date: string; weight_kg: number; farm: string };
      };
      const { breed, sex, birth_date, weight_kg: weight, farm } = metadata;
      return {
        sisbov: identifiers[0]!.value,
        chip: identifiers[1]!.value,
        ear_tag: identifiers[2]!.value,
        weight: String(weight),
        breed,
        sex,
        birth_date,
        farm,
      };
    });
    expect(rows).toEqual(sent);
  });
});

describe('plans', () => {
  test('send every fifth record about an animal that is known by then, and no animal more than twice', () => {
    const plan = planRecords({ count: 1000, firstAnimal: 500, stored: 500, seed: 1 });

    const seen = new Set<number>();
    const visits = new Map<number, number>();
    const known = [...plan.animals].map((animal) => {
      const isKnown = animal < 500 || seen.has(animal);
      seen.add(animal);
      visits.set(animal, (visits.get(animal) ?? 0) + 1);
      return isKnown;
    });
    expect(known.map((isKnown, at) => isKnown === (at % 5 === 4))).not.toContain(false);
    expect(plan.newAnimals).toBe(800);
    expect([...plan.animals].filter((animal) => animal < 500)).toHaveLength(100);
    expect(Math.max(...visits.values())).toBe(2);
  });

  test('know the weight that is sent last for each animal', () => {
    const plan = planRecords({ count: 1000, firstAnimal: 0, stored: 0, seed: 2 });

    const lastWeights = new Map<string, string>();
    for (const line of ndjsonOf(plan, 0, 1000).toString().trimEnd().split('\n')) {
      const record = JSON.parse(line) as { identifiers: { value: string }[]; metadata: { weight_kg: number } };
      lastWeights.set(record.identifiers[0]!.value, String(record.metadata.weight_kg));
    }
    const planned = [...plan.finalWeights].map(([animal, weight]) => [identifierOf('sisbov', animal), weight] as const);
    expect(new Map(planned)).toEqual(lastWeights);
  });
});
