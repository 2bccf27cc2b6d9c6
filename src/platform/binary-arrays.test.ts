import * as fc from 'fast-check';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase } from '../testing/database.ts';
import {
  byteaArray,
  int2Array,
  int4Array,
  int8Array,
  textArray,
  timestamptzArray,
  uuidArray,
} from './binary-arrays.ts';

describe('arrays in the binary format of Postgres', () => {
  let client: pg.Client;
  let drop: () => Promise<void>;

  beforeAll(async () => {
    const database = await createTestDatabase();
    drop = database.drop;
    client = new pg.Client({ connectionString: database.url });
    await client.connect();
  });

  afterAll(async () => {
    await client.end();
    await drop();
  });

  async function readBack(type: string, array: Buffer): Promise<(string | null)[]> {
    const { rows } = await client.query<{ element: string | null }>(
      `select element::text from unnest($1::${type}[]) with ordinality as unnested (element, at) order by at`,
      [array],
    );
    return rows.map((row) => row.element);
  }

  const cases: { type: string; element: fc.Arbitrary<unknown>; encode(values: never[]): Buffer }[] = [
    { type: 'int2', element: fc.integer({ min: -32_768, max: 32_767 }), encode: int2Array },
    { type: 'int4', element: fc.integer(), encode: int4Array },
    { type: 'int8', element: fc.maxSafeInteger(), encode: int8Array },
    { type: 'uuid', element: fc.uuid(), encode: uuidArray },
    {
      type: 'text',
      element: fc
        .string({ unit: 'binary', maxLength: 50 })
        .filter((text) => text.isWellFormed() && !text.includes('\u0000')),
      encode: textArray,
    },
  ];

  it.each(cases)(
    '$type elements arrive as they were, nulls and empty arrays included',
    async ({ type, element, encode }) => {
      await fc.assert(
        fc.asyncProperty(fc.array(fc.option(element, { nil: null }), { maxLength: 40 }), async (values) => {
          const expected = values.map((value) => (value === null ? null : String(value as string | number)));

          const found = await readBack(type, encode(values as never[]));

          expect(found).toEqual(expected);
        }),
        { numRuns: 60 },
      );
    },
  );

  it('bytea elements arrive as they were', async () => {
    const values = [Buffer.from([0, 255, 92, 39]), null, Buffer.alloc(0), Buffer.alloc(100_000, 7)];

    const found = await readBack('bytea', byteaArray(values));

    expect(found).toEqual(values.map((value) => value && `\\x${value.toString('hex')}`));
  });

  it('timestamptz elements keep the microsecond, before and after the epochs', async () => {
    const micros = [0, 1, -1, 946_684_800_000_001, 1_732_000_000_123_456, -2_208_988_800_000_000];

    const { rows } = await client.query<{ micros: string }>(
      `select (extract(epoch from element) * 1000000)::int8::text as micros from unnest($1::timestamptz[]) as unnested (element)`,
      [timestamptzArray(micros)],
    );

    expect(rows.map((row) => Number(row.micros))).toEqual(micros);
  });
});
