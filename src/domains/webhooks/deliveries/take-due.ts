import type pg from 'pg';
import { withTransaction } from '#platform/database.ts';
import {
  findDueDeliveries,
  findLeased,
  holdFreeEndpoints,
  leaseEndpoints,
  lookUpByKeys,
  releaseEndpoints,
  reserveStarts,
  type DueDelivery,
  type LeasedEndpoint,
} from './queue.store.ts';

/** What is asked of an endpoint that a process has. */
export interface AskedFor {
  readonly count: number;
  /** Whether its lease begins again. */
  readonly isRenewed: boolean;
  /** Deliveries that the process has begun: they are still queued, and are not given again. */
  readonly begun: ReadonlySet<string>;
}

interface TakeOptions {
  /** The process that takes. */
  readonly holder: string;
  readonly leaseMs: number;
  /** Failures in a row after which an endpoint is tried by one delivery at a time. */
  readonly breakerFailures: number;
  /** Endpoints that it gives back. */
  readonly released: readonly string[];
  /** Endpoints that it has and keeps. */
  readonly kept: ReadonlyMap<string, AskedFor>;
  /** So many others at most. */
  readonly freshMax: number;
  /** Of all bodies together, of which each endpoint has its share; one message of each is taken however long it is. */
  readonly bytesMax: number;
}

/** An endpoint with what is due of it. */
export interface TakenEndpoint {
  readonly endpoint: LeasedEndpoint;
  /** Whether its lease began with this. */
  readonly isRenewed: boolean;
  /** Each with the milliseconds after which the rate of the endpoint lets it start. */
  readonly due: readonly { readonly delivery: DueDelivery; readonly startInMs: number }[];
  /** Whether more was due. */
  readonly hasMore: boolean;
}

/** What came of one look. */
export interface Taken {
  readonly endpoints: readonly TakenEndpoint[];
  /** Endpoints that could not be given back, since somebody else held them for a moment. */
  readonly unreleased: readonly string[];
}

/** Deliveries for each slot of an endpoint that a process takes at first. */
export const firstPerSlot = 4;
/** Starts that a rate lets happen within this time are given out together. */
const rateWindowMs = 1000;

/**
 * Leases endpoints and gives what is due of them, in one short transaction: a delivery is not written to before something
 * became of it.
 */
export function takeDue(pool: pg.Pool, options: TakeOptions): Promise<Taken> {
  const { holder, released, kept, freshMax, leaseMs, breakerFailures, bytesMax } = options;
  return withTransaction(pool, async (client) => {
    lookUpByKeys(client);
    const toRenew = [...kept].filter(([, { isRenewed }]) => isRenewed).map(([endpointId]) => endpointId);
    // One that somebody else holds for a while must not hold up all others: its time goes on, or runs out.
    const wanted = [...released, ...toRenew];
    const held = new Set(wanted.length === 0 ? [] : await holdFreeEndpoints(client, wanted));
    const given = released.filter((endpointId) => held.has(endpointId));
    if (given.length > 0) await releaseEndpoints(client, holder, given);
    const others = released.filter((endpointId) => !held.has(endpointId));
    const unreleased = others.length === 0 ? [] : await findLeased(client, holder, others);
    if (kept.size === 0 && freshMax === 0) return { endpoints: [], unreleased };
    const renewed = toRenew.filter((endpointId) => held.has(endpointId));
    const lease = { holder, leaseMs, kept: [...kept.keys()], renewed, freshMax, breakerFailures };
    const endpoints = await leaseEndpoints(client, lease);
    const asked = new Map(
      endpoints.map((endpoint) => {
        const { count, begun } = kept.get(endpoint.endpoint_id) ?? {
          count: endpoint.slots * firstPerSlot,
          begun: none,
        };
        const isOwn = !kept.has(endpoint.endpoint_id) || held.has(endpoint.endpoint_id);
        // The next start that a rate allows is written to the row of the endpoint.
        const mayGive = endpoint.may_send && (isOwn || endpoint.requests_per_minute === null);
        return [endpoint.endpoint_id, { limit: mayGive ? count + begun.size : 0, begun }];
      }),
    );
    const limits = [...asked].map(([endpointId, { limit }]) => ({ endpointId, limit }));
    const bytesEach = Math.floor(bytesMax / Math.max(1, limits.length));
    const found = limits.length === 0 ? [] : await findDueDeliveries(client, limits, bytesEach);
    const byEndpoint = Map.groupBy(found, (delivery) => delivery.endpoint_id);
    const taken = endpoints.map((endpoint) => {
      const { limit, begun } = asked.get(endpoint.endpoint_id)!;
      const due = byEndpoint.get(endpoint.endpoint_id) ?? [];
      const isRenewed = !kept.has(endpoint.endpoint_id) || held.has(endpoint.endpoint_id);
      const wasCut = due.length >= limit || bytesOf(due) > bytesEach;
      return { endpoint, isRenewed, ...giveOut(endpoint, due, { begun, wasCut }) };
    });
    const reserved = taken.flatMap(({ endpoint, due }) => {
      const last = due.at(-1);
      if (endpoint.requests_per_minute === null || !last) return [];
      return [{ endpointId: endpoint.endpoint_id, nextStartInMs: last.startInMs + intervalMs(endpoint) }];
    });
    if (reserved.length > 0) await reserveStarts(client, reserved);
    return { endpoints: taken, unreleased };
  });
}

const none: ReadonlySet<string> = new Set();

/** @param wasCut whether more of it is due than was found. */
function giveOut(
  endpoint: LeasedEndpoint,
  found: readonly DueDelivery[],
  { begun, wasCut }: { begun: ReadonlySet<string>; wasCut: boolean },
): Pick<TakenEndpoint, 'due' | 'hasMore'> {
  const waiting = found.filter(({ delivery_id: id }) => !begun.has(id));
  if (endpoint.requests_per_minute === null)
    return {
      due: waiting.map((delivery) => ({ delivery, startInMs: 0 })),
      hasMore: wasCut && found.length > 0,
    };
  const due = waiting
    .map((delivery, at) => ({ delivery, startInMs: endpoint.next_start_in_ms + at * intervalMs(endpoint) }))
    .filter(({ startInMs }) => startInMs <= rateWindowMs);
  // When the rate lets nothing start soon, the endpoint is taken up again when it does.
  return { due, hasMore: due.length > 0 && (wasCut || due.length < waiting.length) };
}

function bytesOf(deliveries: readonly DueDelivery[]): number {
  return deliveries.reduce((sum, { body_bytes: bytes }) => sum + bytes, 0);
}

function intervalMs({ requests_per_minute: perMinute }: LeasedEndpoint): number {
  return perMinute === null ? 0 : 60_000 / perMinute;
}
