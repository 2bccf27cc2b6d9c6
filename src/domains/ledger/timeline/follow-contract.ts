import type pg from 'pg';
import { itemNumberOf } from '#domains/items/index.ts';
import { RpcUnavailable, type ContractEvent, type StellarRpc } from '../stellar-rpc.ts';
import {
  findDfids,
  noteContract,
  skipLedgers,
  takeContractProgress,
  writeContractEvents,
  type TimelineEntry,
} from './timeline.store.ts';

/** A contract of a network whose events tell where contents of items are. */
export interface ContractFollowing {
  readonly rpc: StellarRpc;
  readonly network: string;
  /** Its address, C… */
  readonly contract: string;
}

const leaseMs = 60_000;
const lookAgainMs = 10_000;
/** A ledger that is closed never changes; but an endpoint may still be reading the last one. */
const confirmations = 1;
const windowLedgers = 1000;
const windowsMax = 20;
const eventsMax = 200;

/**
 * Reads the events that a contract gave off since the last time, up to the last ledger but one. Ledgers are done in windows,
 * each noted with its end in one statement; those of which no endpoint knows any longer are noted as a gap.
 * @returns how many events told of items; undefined when it is not due.
 */
export async function followContract(pool: pg.Pool, options: ContractFollowing): Promise<number | undefined> {
  const { rpc } = options;
  const taken = await takeContractProgress(pool, options, leaseMs);
  if (!taken) return undefined;
  let latestLedger: number | null = null;
  let [told, isUpToDate] = [0, true];
  try {
    const range = await rpc.readLedgerRange();
    ({ latestLedger } = range);
    const end = latestLedger - confirmations + 1;
    let from = taken.position;
    if (from < range.oldestLedger) {
      await skipLedgers(pool, options, { from, to: range.oldestLedger });
      from = range.oldestLedger;
    }
    for (let windows = 0; from < end && windows < windowsMax; windows += 1) {
      const to = Math.min(from + windowLedgers, end);
      const read = await readWindow(pool, options, from, to);
      if (!(await writeContractEvents(pool, options, { from, to, ...read }))) return told;
      told += read.entries.length;
      from = to;
    }
    isUpToDate = from >= end;
    await noteContract(pool, options, { latestLedger, refusal: null, delayMs: isUpToDate ? lookAgainMs : 0 });
  } catch (error) {
    if (!(error instanceof RpcUnavailable)) throw error;
    await noteContract(pool, options, { latestLedger, refusal: error.message, delayMs: lookAgainMs });
  }
  return told;
}

/** All that a contract told from one ledger to before another. */
async function readWindow(
  pool: pg.Pool,
  { rpc, contract }: ContractFollowing,
  startLedger: number,
  endLedger: number,
): Promise<{ entries: TimelineEntry[]; ignored: number }> {
  const events: ContractEvent[] = [];
  for (let cursor: string | undefined; ;) {
    const page = await rpc.readContractEvents({ contract, startLedger, endLedger, cursor, limit: eventsMax });
    // A page that goes on by its cursor knows nothing of the end.
    const within = page.events.filter(({ ledger }) => ledger < endLedger);
    events.push(...within);
    if (page.events.length < eventsMax || within.length < page.events.length) break;
    cursor = page.cursor;
  }
  const { readUpdateEvent } = await import('../stellar-contracts.ts');
  const updates = events.flatMap((event) => {
    const update = readUpdateEvent(event.topicXdr, event.valueXdr);
    const itemNumber = update && itemNumberOf(update.dfid);
    return update && itemNumber !== undefined ? [{ event, update, itemNumber }] : [];
  });
  const dfids = await findDfids(
    pool,
    updates.map(({ itemNumber }) => itemNumber),
  );
  const entries = updates
    .filter(({ update, itemNumber }) => dfids.get(itemNumber) === update.dfid)
    .map(({ event, update, itemNumber }) => ({
      itemNumber,
      cid: update.cid,
      transactionHash: event.transactionHash,
      ledger: event.ledger,
      closedAtMs: event.closedAtMs,
    }));
  return { entries, ignored: events.length - entries.length };
}
