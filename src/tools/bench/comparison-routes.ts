import { blake3Hex } from '#platform/blake3.ts';
import { openDatabase } from '#platform/database.ts';
import { makeId, makeReceiptId } from '#platform/ids.ts';
import { defineRoute, type Route } from '#platform/route.ts';
import { makeAuthentication } from '#domains/accounts/index.ts';
import { Queue } from 'bullmq';
import express, { type Express, type Request } from 'express';
import { Redis } from 'ioredis';
import pg from 'pg';

/** Where the comparison routes are served. */
export const comparisonPaths = { answer: '/bench/answer', naive: '/bench/naive' } as const;

/** The queue that the naive route fills. */
export const naiveReceptionQueue = 'bench-naive-reception';

/** The table that the naive route fills: that of the product with the body in the same row. */
export const createNaiveTable = `
  create table naive_receipts (like receipts including all);
  alter table naive_receipts add column body json not null`;

const poolSize = 16;

/** The limit: the product's app, body reader, authentication, log and metrics, for a body that is only answered. */
export const answerRoute: Route = defineRoute({
  method: 'post',
  path: comparisonPaths.answer,
  access: 'write',
  tag: 'Comparison',
  summary: 'Take a body and answer',
  rawBody: ['application/json'],
  responses: { 202: { description: 'An answer of the size of an acknowledgement' } },
  async handle(request) {
    const { sizeBytes } = await request.receiveBody();
    const body = acknowledgement(fixedReceiptId, fixedHash, sizeBytes, fixedTime);
    return { status: 202, headers: { location: `/api/receipts/${fixedReceiptId}` }, body };
  },
});

/**
 * The naive way as the guides of Express and BullMQ write it: `express.json`, one INSERT through a pool and one job per
 * request, `response.json`. It checks the same keys, and keeps no log and no metrics.
 */
export function makeNaiveApp({ databaseUrl, redisUrl }: { databaseUrl: string; redisUrl: string }): {
  app: Express;
  close(): Promise<void>;
} {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: poolSize, application_name: 'bench-naive' });
  const database = openDatabase({ url: databaseUrl, poolSize: 1, applicationName: 'bench-naive-keys' });
  const authentication = makeAuthentication(database, Date.now);
  const redis = new Redis(redisUrl);
  const queue = new Queue(naiveReceptionQueue, { connection: redis });
  const app = express();
  app.use(express.json({ limit: '16mb' }));
  app.post(comparisonPaths.naive, async (request: Request, response) => {
    const principal = await authentication.authenticateApiKey(request.get('x-api-key') ?? '');
    if (!principal) {
      response.status(401).json({ error: 'unauthenticated' });
      return;
    }
    const text = JSON.stringify(request.body);
    const receiptId = makeReceiptId();
    const hash = blake3Hex(text);
    const { rows } = await pool.query<{ received_at: Date }>(
      `insert into naive_receipts (receipt_id, workspace_id, hash, size_bytes, content_type, format, charset, body)
       values ($1, $2, $3, $4, 'application/json', 'json', 'utf-8', $5) returning received_at`,
      [receiptId, principal.workspaceId, Buffer.from(hash, 'hex'), text.length, text],
    );
    await queue.add('receipt', { receipt_id: receiptId });
    response
      .status(202)
      .location(`/api/receipts/${receiptId}`)
      .json(acknowledgement(receiptId, hash, text.length, rows[0]!.received_at));
  });
  return {
    app,
    async close() {
      authentication.stop();
      await queue.close();
      redis.disconnect();
      await pool.end();
      await database.close();
    },
  };
}

const fixedReceiptId = makeId();
const fixedHash = blake3Hex('');
const fixedTime = new Date(0);

function acknowledgement(receiptId: string, hash: string, sizeBytes: number, receivedAt: Date) {
  return {
    receipt_id: receiptId,
    status: 'received',
    hash,
    size_bytes: sizeBytes,
    content_type: 'application/json',
    received_at: receivedAt.toISOString(),
  };
}
