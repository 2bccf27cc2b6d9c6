import { defineRoute, type Route } from '#platform/route.ts';
import { bulkForm, bulkQuery, ingestionPreviewSchema, ingestionReceiptSchema } from './bulk-ingestion.schema.ts';
import type { BulkIngestion } from './bulk-ingestion.service.ts';

/** The route of POST /api/items/bulk. */
export function bulkIngestionRoutes(bulk: BulkIngestion): Route[] {
  return [
    defineRoute({
      method: 'post',
      path: '/api/items/bulk',
      access: 'write',
      tag: 'Items',
      summary: 'Create and enrich items from a file, or see what it would do',
      query: bulkQuery,
      rawBody: ['multipart/form-data'],
      describedBody: bulkForm,
      responses: {
        201: {
          description: 'Kept. Settled in time, or `processing`: then the receipt at Location tells the rest',
          schema: ingestionReceiptSchema,
        },
        200: { description: 'With dry_run=true: what would happen', schema: ingestionPreviewSchema },
      },
      problems: [
        'invalid_form',
        'empty_body',
        'malformed_json',
        'invalid_csv_header',
        'body_too_large',
        'slow_body',
        'overloaded',
      ],
      isIdempotent: true,
      recall: bulk.recall,
      handle: (request) => bulk.ingest(request),
    }),
  ];
}
