import { blake3Hex } from '#platform/blake3.ts';
import { makeId, makeReceiptId } from '#platform/ids.ts';
import { defineRoute, principalOf, type ReceivedBody, type Route } from '#platform/route.ts';
import { Queue } from 'bullmq';
import { Redis } from 'ioredis';
import pg from 'pg';

/** Where the comparison routes are served. */
export const comparisonPaths = { answer: '/bench/answer', naive: '/bench/naive' } as const;

/** The queue that the naive route fills. */
export const naiveReceptionQueue = 'bench-naive-reception';

/** The table that the naive route fills: that of the product with the body in the same row. */
export const createNaiveTable = `
  create table naive_receipts (like receipts including all);
  alter table naive_receipts add column body bytea not null`;

const poolSize = 16;

/**
 * The routes that `POST /api/receipts` is compared with: one that takes the same body from the same reader and only
 * answers, and one that keeps each body by a statement and a job of its own.
 */
export function makeComparisonRoutes({ databaseUrl, redisUrl }: { databaseUrl: string; redisUrl: string }) {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: poolSize, application_name: 'bench-naive' });
  const redis = new Redis(redisUrl);
  const queue = new Queue(naiveReceptionQueue, { connection: redis });
  const common = {
    method: 'post',
    access: 'write',
    tag: 'Comparison',
    rawBody: ['application/json'],
    responses: { 202: { description: 'An answer of the size of an acknowledgement' } },
  } as const;
  const routes: Route[] = [
    defineRoute({
      ...common,
      path: comparisonPaths.answer,
      summary: 'Take a body and answer',
      async handle(request) {
        const { sizeBytes } = await request.receiveBody();
        return acknowledge(fixedReceiptId, fixedHash, sizeBytes, fixedTime);
      },
    }),
    defineRoute({
      ...common,
      path: comparisonPaths.naive,
      summary: 'Keep a body by one statement and one job',
      async handle(request) {
        const body = joined(await request.receiveBody());
        JSON.parse(body.toString('utf8'));
        const receiptId = makeReceiptId();
        const hash = blake3Hex(body);
        const receivedAt = await insertReceipt(
          pool,
          principalOf(request).workspaceId,
          receiptId,
          hash,
          body,
          request.id,
        );
        await queue.add('receipt', { receipt_id: receiptId });
        return acknowledge(receiptId, hash, body.length, receivedAt);
      },
    }),
  ];
  return {
    routes,
    async close() {
      await queue.close();
      redis.disconnect();
      await pool.end();
    },
  };
}

const fixedReceiptId = makeId();
const fixedHash = blake3Hex('');
const fixedTime = new Date(0);

function acknowledge(receiptId: string, hash: string, sizeBytes: number, receivedAt: Date) {
  return {
    status: 202,
    headers: { location: `/api/receipts/${receiptId}` },
    body: {
      receipt_id: receiptId,
      status: 'received',
      hash,
      size_bytes: sizeBytes,
      content_type: 'application/json',
      received_at: receivedAt.toISOString(),
    },
  };
}

function joined({ chunks }: ReceivedBody): Buffer {
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

async function insertReceipt(
  pool: pg.Pool,
  workspaceId: string,
  receiptId: string,
  hash: string,
  body: Buffer,
  requestId: string,
): Promise<Date> {
  const { rows } = await pool.query<{ received_at: Date }>(
    `insert into naive_receipts (receipt_id, workspace_id, hash, size_bytes, content_type, format, charset, request_id, body)
     values ($1, $2, $3, $4, 'application/json', 'json', 'utf-8', $5, $6) returning received_at`,
    [receiptId, workspaceId, Buffer.from(hash, 'hex'), body.length, requestId, body],
  );
  return rows[0]!.received_at;
}
