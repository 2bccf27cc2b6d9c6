import { setTimeout as delay } from 'node:timers/promises';
import type { Bell } from '#platform/queue/bell.ts';
import type { NewReceipt } from './receipts.store.ts';
import { ingestionQueue, nameSome, receiptsPerClaim, smallReceiptBytes, type IngestionJob } from './reception.jobs.ts';

type KeptReceipt = Pick<NewReceipt, 'receiptId' | 'workspaceId' | 'requestId' | 'sizeBytes'>;

/** A ring for so many receipts, or more, keeps the next one waiting for as many milliseconds. */
const spacingMaxMs = 25;

/**
 * Rings for receipts that were kept. Whoever is alone is rung for at once. Behind a ring for many, the receipts that
 * follow are gathered for a while, so that ringing costs less the more there is to ring for, and workers get full hands.
 * Nothing is awaited: the receipts are kept, and the sweep finds what no bell announced.
 */
export function makeIngestionBell(bell: Bell): (receipts: readonly KeptReceipt[]) => void {
  let gathered: KeptReceipt[] = [];
  let isRinging = false;
  const ringUntilNoneIsLeft = async () => {
    isRinging = true;
    while (gathered.length > 0) {
      const receipts = gathered;
      gathered = [];
      const pause = delay(Math.min(receipts.length, spacingMaxMs), undefined, { ref: false });
      await Promise.all([bell.ring(ingestionQueue, jobsFor(receipts)), pause]);
    }
    isRinging = false;
  };
  return (receipts) => {
    for (const receipt of receipts) gathered.push(receipt);
    if (!isRinging) void ringUntilNoneIsLeft();
  };
}

/** One job for what one claim takes: a large receipt, or many small ones of one workspace. */
function jobsFor(receipts: readonly KeptReceipt[]): IngestionJob[] {
  const large = receipts.filter(({ sizeBytes }) => sizeBytes > smallReceiptBytes);
  const small = receipts.filter(({ sizeBytes }) => sizeBytes <= smallReceiptBytes);
  const claims = large.map((receipt) => [receipt]);
  for (const ofWorkspace of Map.groupBy(small, ({ workspaceId }) => workspaceId).values()) {
    for (let from = 0; from < ofWorkspace.length; from += receiptsPerClaim)
      claims.push(ofWorkspace.slice(from, from + receiptsPerClaim));
  }
  return claims.map((claim) => ({
    receipt_ids: claim.map(({ receiptId }) => receiptId),
    request_ids: nameSome(claim.map(({ requestId }) => requestId)),
  }));
}
