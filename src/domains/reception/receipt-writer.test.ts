import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { makeId, makeReceiptId } from '#platform/ids.ts';
import { createTestDatabase } from '../../testing/database.ts';
import { makeReceiptWriter } from './receipt-writer.ts';
import type { NewReceipt } from './receipts.store.ts';

describe('the receipt writer', () => {
  let url: string;
  let drop: () => Promise<void>;
  let pool: pg.Pool;

  beforeAll(async () => {
    ({ url, drop } = await createTestDatabase());
  });

  beforeEach(async () => {
    await pool?.end();
    pool = new pg.Pool({ connectionString: url, max: 4 });
    pool.on('error', () => {});
  });

  afterAll(async () => {
    await pool.end();
    await drop();
  });

  function receipt(overrides: Partial<NewReceipt> = {}): NewReceipt {
    return {
      receiptId: makeReceiptId(),
      workspaceId: makeId(),
      hash: Buffer.alloc(32, 1),
      sizeBytes: 2,
      contentType: 'application/json',
      format: 'json',
      charset: 'utf-8',
      valueChain: null,
      country: null,
      year: null,
      circuitId: null,
      requestId: 'request-1',
      body: Buffer.from('{}'),
      idempotency: null,
      ...overrides,
    };
  }

  async function countKept(receiptIds: readonly string[]): Promise<number> {
    const { rows } = await pool.query<{ count: number }>(
      `select count(*)::int4 as count from receipts join receipt_bodies using (receipt_id) where receipt_id = any($1::uuid[])`,
      [receiptIds],
    );
    return rows[0]!.count;
  }

  it('keeps receipts that wait at the same moment in few statements, each with its body', async () => {
    const groups: number[] = [];
    const writer = makeReceiptWriter({ pool, onStored: () => {}, observeGroup: (rows) => groups.push(rows) });
    const receipts = Array.from({ length: 300 }, () => receipt());

    const stored = await Promise.all(receipts.map((one) => writer.keep(one)));

    expect(stored.map((row) => row?.receipt_id)).toEqual(receipts.map((one) => one.receiptId));
    expect(await countKept(receipts.map((one) => one.receiptId))).toBe(300);
    expect(groups.length).toBeLessThan(10);
  });

  it('refuses alone the receipt that the database cannot hold', async () => {
    const writer = makeReceiptWriter({ pool, onStored: () => {} });
    const good = Array.from({ length: 20 }, () => receipt());
    const bad = receipt({ contentType: 'text/\u0000csv' });

    const results = await Promise.allSettled(
      [...good.slice(0, 10), bad, ...good.slice(10)].map((one) => writer.keep(one)),
    );

    expect(results.filter((result) => result.status === 'rejected')).toHaveLength(1);
    expect(results[10]!.status).toBe('rejected');
    expect(await countKept(good.map((one) => one.receiptId))).toBe(20);
  });

  it('neither doubles nor loses receipts when the answer to a commit is lost', async () => {
    const receipts = Array.from({ length: 50 }, () => receipt());
    const writer = makeReceiptWriter({ pool: losingFirstAnswer(pool), onStored: () => {} });

    const stored = await Promise.all(receipts.map((one) => writer.keep(one)));

    expect(stored.every((row) => row !== undefined)).toBe(true);
    expect(await countKept(receipts.map((one) => one.receiptId))).toBe(50);
  });

  it('gives a key to one of two processes that write at the same moment', async () => {
    const workspaceId = makeId();
    const idempotency = { operation: 'POST /api/receipts', key: 'k', fingerprint: Buffer.alloc(32) };
    const writers = [makeReceiptWriter({ pool, onStored: () => {} }), makeReceiptWriter({ pool, onStored: () => {} })];

    const stored = await Promise.all(writers.map((writer) => writer.keep(receipt({ workspaceId, idempotency }))));

    expect(stored.filter((row) => row !== undefined)).toHaveLength(1);
  });

  it('keeps a large body in parts that give the same bytes', async () => {
    const writer = makeReceiptWriter({ pool, onStored: () => {} });
    const chunks = Array.from({ length: 70 }, (_none, index) => Buffer.alloc(50_000 + index, index));
    const whole = Buffer.concat(chunks);
    const large = receipt({ sizeBytes: whole.length, body: null });

    await writer.keepLarge(large, chunks);

    const { rows } = await pool.query<{ bytes: Buffer }>(
      'select bytes from receipt_bodies where receipt_id = $1 order by part',
      [large.receiptId],
    );
    expect(rows.map((row) => row.bytes.length)).toEqual([
      1_048_576,
      1_048_576,
      1_048_576,
      whole.length - 3 * 1_048_576,
    ]);
    expect(Buffer.concat(rows.map((row) => row.bytes)).equals(whole)).toBe(true);
  });

  /** A pool whose first statement is carried out, but whose answer never arrives. */
  function losingFirstAnswer(real: pg.Pool): pg.Pool {
    let isFirst = true;
    const query = async (...queryArguments: Parameters<pg.Pool['query']>) => {
      const answer = await (real.query as (...all: unknown[]) => Promise<unknown>).apply(real, queryArguments);
      if (!isFirst) return answer;
      isFirst = false;
      throw Object.assign(new Error('Connection terminated unexpectedly'), { code: 'ECONNRESET' });
    };
    return new Proxy(real, { get: (target, name) => (name === 'query' ? query : Reflect.get(target, name)) });
  }
});
