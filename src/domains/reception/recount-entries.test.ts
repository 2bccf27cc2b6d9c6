import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  readJson,
  startApplication,
  type Entry,
  type Receipt,
  type TestApplication,
} from '../../testing/application.ts';

let application: TestApplication;
beforeAll(async () => {
  application = await startApplication({ backend: 'postgres' });
});
afterAll(() => application.close());

let nextNumber = 500_000_000_000;
const newSisbov = () => ({ identifier_type: 'sisbov', value: `BR${nextNumber++}` });
const newChip = () => ({ identifier_type: 'chip', value: `982${nextNumber++}` });
const replaced = (old: object, next: object) => ({ event_type: 'identifier_replaced', payload: { old, new: next } });

async function submit(...records: object[]): Promise<Receipt> {
  return readJson<Receipt>(await application.submit(JSON.stringify(records), { prefer: 'wait=20' }));
}

const read = async (path: string) => readJson<unknown>(await application.fetch(path));

describe('a receipt whose record waited until another came', () => {
  test.each([
    ['a receipt', (record: object) => application.submit(JSON.stringify([record]))],
    [
      'a request for an item',
      (record: object) =>
        application.fetch('/api/items', {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(record),
        }),
    ],
  ])('counts it as complete afterwards and stays settled when it was: %s', async (_name, tell) => {
    const [sisbov, first, second] = [newSisbov(), newChip(), newChip()];
    await submit({ identifiers: [sisbov, first] });
    const waiting = await submit(
      { identifiers: [sisbov, second], metadata: { weight: 1 } },
      { identifiers: [newChip()] },
    );
    expect(waiting).toMatchObject({ status: 'completed_with_errors', entries: { completed: 1, conflicted: 1 } });

    await tell({
      value_chain: 'BEEF',
      country: 'BR',
      year: 2025,
      identifiers: [sisbov],
      events: [replaced(first, second)],
    });

    await expect
      .poll(() => read(`/api/receipts/${waiting.receipt_id}`), { timeout: 20_000 })
      .toMatchObject({
        status: 'completed',
        entries: { total: 2, pending: 0, completed: 2, conflicted: 0 },
        items: { created: 1, updated: 1 },
        finished_at: waiting.finished_at,
      });
    const { entries } = (await read(`/api/receipts/${waiting.receipt_id}/entries`)) as { entries: Entry[] };
    expect(entries.map(({ status, outcome, error }) => [status, outcome, error])).toEqual([
      ['completed', 'enriched', null],
      ['completed', 'created', null],
    ]);
  });
});
