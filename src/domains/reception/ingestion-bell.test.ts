import { describe, expect, it, vi } from 'vitest';
import { makeId, makeReceiptId } from '#platform/ids.ts';
import { makeIngestionBell } from './ingestion-bell.ts';
import { receiptsPerClaim, smallReceiptBytes, type IngestionJob } from './reception.jobs.ts';

function receiptOf(workspaceId: string, sizeBytes = 600) {
  return { receiptId: makeReceiptId(), workspaceId, requestId: makeId(), sizeBytes };
}

/** A bell whose rings stay on their way until they are let through. */
function makeSlowBell() {
  const rings: (readonly IngestionJob[])[] = [];
  const letThrough: (() => void)[] = [];
  return {
    rings,
    letThrough: () => letThrough.shift()!(),
    bell: {
      ring: async (_queue: unknown, jobs: readonly object[]) => {
        rings.push(jobs as IngestionJob[]);
        await new Promise<void>((resolve) => letThrough.push(resolve));
        return true;
      },
      countJobs: async () => undefined,
    },
  };
}

function receiptsOf(jobs: readonly IngestionJob[]): string[] {
  return jobs.flatMap((job) => job.receipt_ids);
}

describe('the bell for ingestion', () => {
  it('gives each workspace and each large receipt a permit of its own, since one claim takes no more', async () => {
    const { bell, rings } = makeSlowBell();
    const [one, other] = [makeId(), makeId()];
    const receipts = [receiptOf(one), receiptOf(other), receiptOf(one, smallReceiptBytes + 1), receiptOf(one)];

    makeIngestionBell(bell)(receipts);

    expect(rings).toHaveLength(1);
    expect(rings[0]!.map((job) => job.receipt_ids.length)).toEqual([1, 2, 1]);
    expect(receiptsOf(rings[0]!).toSorted()).toEqual(receipts.map(({ receiptId }) => receiptId).toSorted());
  });

  it('rings for no more small receipts at once than one claim takes', () => {
    const { bell, rings } = makeSlowBell();
    const workspaceId = makeId();

    makeIngestionBell(bell)(Array.from({ length: receiptsPerClaim + 1 }, () => receiptOf(workspaceId)));

    expect(rings[0]!.map((job) => job.receipt_ids.length)).toEqual([receiptsPerClaim, 1]);
  });

  it('gathers what comes while a ring is on its way, and leaves nothing out', async () => {
    const slow = makeSlowBell();
    const ring = makeIngestionBell(slow.bell);
    const workspaceId = makeId();
    const receipts = Array.from({ length: 4 }, () => receiptOf(workspaceId));

    for (const receipt of receipts) ring([receipt]);
    slow.letThrough();
    await vi.waitFor(() => expect(slow.rings).toHaveLength(2));

    expect(slow.rings.flatMap(receiptsOf)).toEqual(receipts.map(({ receiptId }) => receiptId));
  });
});
