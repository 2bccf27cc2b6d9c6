import type { Queryable } from '#platform/database.ts';
import { principalOf, type RouteRequest, type RouteResponse } from '#platform/route.ts';
import type { TypeRegistry } from '#domains/items/index.ts';
import type { BodyKind } from './body-format.ts';
import { readBulkForm, refuseOtherThanForm } from './bulk-form.ts';
import type { makeBulkPreview } from './bulk-preview.ts';
import { readBrought } from './ingestion-summary.store.ts';
import type { ReceiptsService } from './receipts.service.ts';
import type { ReceiptRow } from './receipts.store.ts';
import { readDefaults, receiveChecked, type CheckedBody, type SubmissionDefaults } from './submission.ts';

interface BulkIngestionOptions {
  /** Connections like those of a worker. */
  reads: Queryable;
  receipts: ReceiptsService;
  preview: ReturnType<typeof makeBulkPreview>;
  loadTypes(): Promise<TypeRegistry>;
}

interface BulkQuery {
  value_chain?: string | undefined;
  country?: string | undefined;
  year?: string | undefined;
  circuit_id?: string | undefined;
  dry_run?: 'true' | 'false' | undefined;
}

/** A file of records, and what its request says for all of them. */
interface BulkFile {
  readonly kind: BodyKind;
  readonly body: CheckedBody;
  readonly defaults: SubmissionDefaults;
}

export type BulkIngestion = ReturnType<typeof makeBulkIngestion>;

/** Shorter than the time after which the load balancers of common platforms give up. */
const waitMs = 25_000;

/** Takes files of records in as ordinary receipts, and tells what became of them. */
export function makeBulkIngestion({ reads, receipts, preview, loadTypes }: BulkIngestionOptions) {
  const answer = async (receipt: ReceiptRow): Promise<RouteResponse> => ({
    status: 201,
    headers: { location: `/api/receipts/${receipt.receipt_id}` },
    body: await describe(reads, receipt),
  });

  const readFile = async (request: RouteRequest<BulkQuery>): Promise<BulkFile> => {
    const defaults = readDefaults(request.query);
    const contentType = request.headers['content-type'];
    refuseOtherThanForm(contentType);
    const { bytes, kind, circuitId } = await readBulkForm(await request.receiveBody(), contentType!);
    return {
      kind,
      body: await receiveChecked(asRequest(bytes), kind, loadTypes),
      defaults: { ...defaults, circuitId: circuitId ?? defaults.circuitId },
    };
  };

  /** A function of its own, so that nothing holds the bytes while the request waits. */
  const keepFile = async (request: RouteRequest<BulkQuery>): Promise<string> => {
    const { workspaceId } = principalOf(request);
    const file = await readFile(request);
    const { id: requestId, idempotency } = request;
    return (await receipts.keep({ workspaceId, requestId, idempotency, ...file })).receiptId;
  };

  const previewFile = async (request: RouteRequest<BulkQuery>) => {
    const startedAt = performance.now();
    const { workspaceId } = principalOf(request);
    const { kind, body, defaults } = await readFile(request);
    const { isCut, failure, ...told } = await preview({ workspaceId, kind, defaults, bytes: body.chunks[0]! });
    const processingTimeMs = Math.round(performance.now() - startedAt);
    const shown = { ...told, is_cut: isCut, error_message: failure };
    return { status: 200, body: { status: 'preview', processing_time_ms: processingTimeMs, ...shown } };
  };

  return {
    /** Keeps the file of a form and waits a while for its records; or tells what would become of them. */
    async ingest(request: RouteRequest<BulkQuery>): Promise<RouteResponse> {
      if (request.query.dry_run === 'true') return previewFile(request);
      const receiptId = await keepFile(request);
      request.releaseBody();
      return answer(await receipts.waitFor(principalOf(request).workspaceId, receiptId, waitMs));
    },

    /** The answer to a file that was kept before. */
    recall: async (workspaceId: string, receiptId: string) => answer(await receipts.waitFor(workspaceId, receiptId, 0)),
  };
}

/** The bytes of a part as if they were a request of their own. */
function asRequest(bytes: Buffer): Pick<RouteRequest, 'receiveBody' | 'headers'> {
  return {
    headers: { 'content-length': String(bytes.length) },
    async receiveBody(onChunk) {
      onChunk?.(bytes);
      return { chunks: [bytes], sizeBytes: bytes.length };
    },
  };
}

async function describe(reads: Queryable, receipt: ReceiptRow) {
  const { completed, rejected, failed, conflicted, finished_at: finishedAt } = receipt;
  const rowsFailed = rejected + failed + conflicted;
  const brought = finishedAt
    ? await readBrought(reads, receipt.receipt_id)
    : { events_created: 0, identifiers_resolved: {} };
  const isFailed = receipt.failure !== null || (completed === 0 && rowsFailed > 0);
  return {
    receipt_id: receipt.receipt_id,
    status: !finishedAt ? 'processing' : isFailed ? 'failed' : rowsFailed > 0 ? 'partial' : 'completed',
    processing_time_ms: (finishedAt ?? new Date()).getTime() - receipt.received_at.getTime(),
    summary: {
      rows_total: receipt.entry_total ?? 0,
      rows_processed: completed,
      rows_failed: rowsFailed,
      items_created: receipt.created,
      items_updated: receipt.enriched,
      ...brought,
      unclassified_fields: receipt.unclassified_fields ?? [],
    },
    error_message: receipt.failure?.detail ?? (rowsFailed > 0 ? reasonsOf(receipt.receipt_id, rowsFailed) : null),
  };
}

function reasonsOf(receiptId: string, rowsFailed: number): string {
  return `${rowsFailed} records were not taken; /api/receipts/${receiptId}/entries tells why`;
}
