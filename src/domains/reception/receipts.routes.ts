import { createBlake3Stream } from '#platform/blake3.ts';
import { anyCase, listBody } from '#platform/page.ts';
import { defineRoute, principalOf, type Route } from '#platform/route.ts';
import { z } from 'zod';
import { acceptedMediaTypes } from './body-format.ts';
import {
  acknowledgementSchema,
  entryListQuery,
  entryListSchema,
  entryStatus,
  receiptListQuery,
  receiptListSchema,
  receiptSchema,
  submissionQuery,
  verificationSchema,
} from './receipts.schema.ts';
import { recordSchema } from './item-submission.schema.ts';
import { showReceipt, type ReceiptsService } from './receipts.service.ts';

const tag = 'Receipts';

/** The routes under /api/receipts. */
export function receiptRoutes(receipts: ReceiptsService): Route[] {
  return [
    defineRoute({
      method: 'post',
      path: '/api/receipts',
      access: 'write',
      tag,
      summary: 'Submit records',
      query: submissionQuery,
      rawBody: acceptedMediaTypes,
      describedBody: z.union([recordSchema, z.array(recordSchema)]),
      requestHeaders: {
        Prefer: 'wait=N waits up to N seconds, at most 30, for the receipt to settle',
      },
      responses: {
        200: { description: 'Settled while the request waited', schema: receiptSchema },
        202: { description: 'Kept; its records will be worked', schema: acknowledgementSchema },
      },
      problems: [
        'empty_body',
        'malformed_json',
        'invalid_csv_header',
        'unsupported_media_type',
        'body_too_large',
        'slow_body',
        'overloaded',
        'unavailable',
      ],
      isIdempotent: true,
      recall: receipts.recall,
      handle: (request) => receipts.submit(request),
    }),
    defineRoute({
      method: 'get',
      path: '/api/receipts',
      access: 'read',
      tag,
      summary: 'List receipts, newest first',
      query: receiptListQuery,
      responses: { 200: { description: 'A page of receipts', schema: receiptListSchema } },
      async handle(request) {
        const { status, received_after: after, received_before: before, ...page } = request.query;
        const filter = {
          workspaceId: principalOf(request).workspaceId,
          status,
          receivedAfter: after === undefined ? undefined : new Date(after),
          receivedBefore: before === undefined ? undefined : new Date(before),
        };
        return { status: 200, body: listBody('receipts', await receipts.list(filter, page), showReceipt) };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/receipts/{receipt_id}',
      access: 'read',
      tag,
      summary: 'What became of a receipt',
      responses: { 200: { description: 'The receipt', schema: receiptSchema } },
      async handle(request) {
        return {
          status: 200,
          body: await receipts.get(principalOf(request).workspaceId, request.parameters['receipt_id']!),
        };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/receipts/{receipt_id}/entries',
      access: 'read',
      tag,
      summary: 'What became of each record',
      query: entryListQuery,
      responses: { 200: { description: 'A page of entries in their order', schema: entryListSchema } },
      async handle(request) {
        const { status, ...page } = request.query;
        const entries = await receipts.listEntries(
          principalOf(request).workspaceId,
          request.parameters['receipt_id']!,
          status,
          page,
        );
        return { status: 200, body: listBody('entries', entries, (entry) => entry) };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/receipts/{receipt_id}/entries.csv',
      access: 'read',
      tag,
      summary: 'The records with what became of them, as CSV',
      query: z.object({ status: anyCase(entryStatus.exclude(['pending'])).optional() }),
      responses: { 200: { description: 'One line per entry', contentType: 'text/csv' } },
      async handle(request) {
        const raw = await receipts.exportEntries(
          principalOf(request).workspaceId,
          request.parameters['receipt_id']!,
          request.query.status,
        );
        return { status: 200, headers: { 'content-type': 'text/csv; charset=utf-8; header=present' }, raw };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/api/receipts/{receipt_id}/retry',
      access: 'write',
      tag,
      summary: 'Work on the failed records again',
      responses: {
        202: {
          description: 'How many records are worked on again',
          schema: z.object({ receipt_id: z.uuid(), retried: z.number().int() }),
        },
      },
      async handle(request) {
        const receiptId = request.parameters['receipt_id']!;
        return {
          status: 202,
          body: { receipt_id: receiptId, retried: await receipts.retry(principalOf(request).workspaceId, receiptId) },
        };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/api/receipts/{receipt_id}/body',
      access: 'read',
      tag,
      summary: 'The bytes as sent',
      responses: {
        200: {
          description: 'The bytes with the content type they were sent with',
          contentType: 'application/octet-stream',
        },
      },
      problems: ['body_erased'],
      async handle(request) {
        const { receipt, bytes } = await receipts.readBody(
          principalOf(request).workspaceId,
          request.parameters['receipt_id']!,
        );
        const headers = {
          'content-type':
            receipt.charset === 'utf-8' ? receipt.content_type : `${receipt.content_type}; charset=${receipt.charset}`,
          'content-length': String(receipt.size_bytes),
          'content-disposition': 'attachment',
        };
        return { status: 200, headers, raw: bytes };
      },
    }),
    defineRoute({
      method: 'post',
      path: '/api/receipts/{receipt_id}/verify',
      access: 'read',
      tag,
      summary: 'Whether these bytes are the ones that were received',
      rawBody: ['*/*'],
      responses: { 200: { description: 'Both hashes', schema: verificationSchema } },
      problems: ['body_too_large'],
      async handle(request) {
        const hash = await createBlake3Stream();
        await request.receiveBody((chunk) => hash.update(chunk));
        return {
          status: 200,
          body: await receipts.verify(
            principalOf(request).workspaceId,
            request.parameters['receipt_id']!,
            hash.digestHex(),
          ),
        };
      },
    }),
  ];
}
