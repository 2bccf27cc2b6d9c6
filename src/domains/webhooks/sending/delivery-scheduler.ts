import type { DueDelivery, LeasedEndpoint } from '../deliveries/queue.store.ts';
import { firstPerSlot, type AskedFor, type TakenEndpoint } from '../deliveries/take-due.ts';

/** More is asked for when what waits is likely to be sent within the first of these, and as much as within the second. */
const lowWaterMs = 500;
const reserveMs = 1200;
/** What was sent in less than this says nothing of how fast it goes on. */
const rateOverMs = 250;
/** Of one endpoint in one look, and of all together: a large look would hold up those who have nothing left. */
const mostOfOne = 256;
/** Endpoints that are taken in one look when the bodies in hand are as many as they should be. */
const roomWhenFull = 4;
const mostOfAll = 2000;
/** One workspace alone may have four fifths of all requests under way; two have four ninths each. */
const shareOfFree = 4;

export interface SchedulerLimits {
  /** Requests of this process at a time. */
  readonly inFlightMax: number;
  /** Of them to one host for one workspace: nobody can have us flood another one. */
  readonly perHostMax: number;
  /** Deliveries of which it is not kept yet what became of them. */
  readonly unkeptMax: number;
  /** An endpoint that failed so often in a row is sent one, and the next when it is kept what became of that. */
  readonly breakerFailures: number;
  /** Bytes of bodies that are in hand. */
  readonly bytesMax: number;
  /** A lease is renewed when it would end within this. */
  readonly renewBeforeMs: number;
  /** Endpoints that are in hand. */
  readonly leasesMax: number;
  /** When there is no room for more, one that was in hand for so long makes room for others. */
  readonly turnMs: number;
  /** After which what is in hand is looked up again, since an endpoint may have been changed. */
  readonly freshMs: number;
}

/** Sends a delivery; calls `ended` when its request came to its end, and `kept` of the scheduler when that is kept. */
export type Begin = (lease: Lease, delivery: DueDelivery, ended: () => void) => void;

interface WaitingDelivery {
  readonly delivery: DueDelivery;
  /** The rate of its endpoint does not let it start before, by `performance.now()`. */
  readonly startAtMs: number;
}

/** Where requests to an endpoint go. */
export interface Target {
  readonly origin: string;
  readonly path: string;
  /** Names the host for one workspace. */
  readonly hostKey: string;
}

function targetOf({ url, workspace_id: workspaceId }: LeasedEndpoint): Target {
  const { origin, host, pathname, search } = new URL(url);
  return { origin, path: pathname + search, hostKey: `${workspaceId} ${host}` };
}

/** An endpoint that this process has, with what of it is in hand. */
export class Lease {
  endpoint: LeasedEndpoint;
  target: Target;
  endsAtMs = 0;
  lookedAtMs = 0;
  waiting: WaitingDelivery[] = [];
  /** Whether more was due than was taken, or may be due since. */
  hasMore = true;
  /** Deliveries that were begun and are not kept yet. */
  readonly begun = new Set<string>();
  readonly takenAtMs = performance.now();
  /** Deliveries that were begun and not kept when the database was asked last, and those that were begun since. */
  begunSince = new Set<string>();
  inFlight = 0;
  /** In a row, as far as is known here. */
  failures = 0;
  sentSince = 0;
  /** Whether nothing is to be sent to it, which the database did not know when it was asked last. */
  isStopped = false;
  /** Whether it is in line to begin another one. */
  isReady = false;

  constructor(endpoint: LeasedEndpoint) {
    this.endpoint = endpoint;
    this.target = targetOf(endpoint);
  }

  become(endpoint: LeasedEndpoint, endsAtMs: number, nowMs: number): void {
    if (endpoint.url !== this.endpoint.url) this.target = targetOf(endpoint);
    this.endpoint = endpoint;
    // The database had not heard of what was under way when it was asked.
    if (this.begunSince.size === 0) this.failures = endpoint.failures;
    this.endsAtMs = endsAtMs;
    this.lookedAtMs = nowMs;
    this.sentSince = 0;
  }

  get isIdle(): boolean {
    return this.waiting.length === 0 && this.begun.size === 0;
  }

  /** How many are likely to be sent in a time, as fast as since the last look. */
  likelyWithin(timeMs: number, nowMs: number): number {
    return (this.sentSince / Math.max(rateOverMs, nowMs - this.lookedAtMs)) * timeMs;
  }
}

/** What the database is to be asked. */
export interface SchedulerWants {
  /** Endpoints of which more is wanted. */
  readonly more: readonly Lease[];
  /** Endpoints of which nothing is left. */
  readonly released: readonly Lease[];
  /** How many other endpoints there is room for, and bytes of bodies. */
  readonly room: number;
  readonly bytes: number;
}

/**
 * Decides which of the deliveries in hand are sent next: each endpoint has its slots and its rate, workspaces take turns,
 * and the more requests one of them has under way the less is left to it. Knows nothing of the database and of HTTP.
 */
export class DeliveryScheduler {
  readonly leases = new Map<string, Lease>();
  readonly #limits: SchedulerLimits;
  readonly #begin: Begin;
  /** Endpoints that may begin one, by their workspace; those first whose turn it is. */
  readonly #ready = new Map<string, Lease[]>();
  readonly #inFlightOf = new Map<string, number>();
  /** Endpoints that wait for a request to their host to end. */
  readonly #crowded = new Map<string, Set<Lease>>();
  #inFlight = 0;
  #unkept = 0;
  #bytes = 0;
  #isStopping = false;

  constructor(limits: SchedulerLimits, begin: Begin) {
    this.#limits = limits;
    this.#begin = begin;
  }

  /** Endpoints for which the database is to be asked; `take` and `release` tell what came of it. */
  wants(): SchedulerWants {
    const nowMs = performance.now();
    const [more, released]: [Lease[], Lease[]] = [[], []];
    const { leasesMax, bytesMax } = this.#limits;
    const isFull = this.leases.size >= leasesMax || this.#bytes >= bytesMax;
    for (const lease of this.leases.values()) {
      if (isFull && nowMs - lease.takenAtMs > this.#limits.turnMs) this.drop(lease);
      if (lease.isIdle && !lease.hasMore) released.push(lease);
      else if (this.#isStopping ? this.#isEnding(lease, nowMs) : this.#wantsMore(lease, nowMs)) more.push(lease);
    }
    const free = Math.max(0, leasesMax - this.leases.size);
    // Who fills it with large bodies leaves some room to others, whose turn comes as often.
    const room = this.#bytes < bytesMax ? free : this.#bytes < bytesMax * 2 ? Math.min(free, roomWhenFull) : 0;
    const bytes = Math.max(0, bytesMax - this.#bytes);
    return { more: this.#mostUrgent(more, nowMs), released, room, bytes };
  }

  /** Those whose lease ends, and those that have the least left, as many as one look can give. */
  #mostUrgent(leases: Lease[], nowMs: number): Lease[] {
    const urgencyOf = (lease: Lease) =>
      this.#isEnding(lease, nowMs) ? -1 : lease.waiting.length / Math.max(1, lease.likelyWithin(lowWaterMs, nowMs));
    const sorted = leases
      .map((lease) => ({ lease, urgency: urgencyOf(lease) }))
      .toSorted((one, other) => one.urgency - other.urgency);
    let count = 0;
    const within = sorted.findIndex(({ lease, urgency }) => {
      if (count >= mostOfAll && urgency >= 0) return true;
      count += this.#countFor(lease, nowMs);
      return false;
    });
    return (within === -1 ? sorted : sorted.slice(0, within)).map(({ lease }) => lease);
  }

  #wantsMore(lease: Lease, nowMs: number): boolean {
    const isStale = nowMs - lease.lookedAtMs > this.#limits.freshMs;
    // What a rate has given out is used up before more is asked for.
    if (lease.endpoint.requests_per_minute !== null)
      return this.#isEnding(lease, nowMs) || (lease.waiting.length === 0 && (lease.hasMore || isStale));
    return isStale || (lease.hasMore && lease.waiting.length <= this.#lowWaterOf(lease, nowMs));
  }

  #lowWaterOf(lease: Lease, nowMs: number): number {
    return Math.max(lease.endpoint.slots, lease.likelyWithin(lowWaterMs, nowMs));
  }

  #countFor(lease: Lease, nowMs: number): number {
    const likely = Math.ceil(lease.likelyWithin(reserveMs, nowMs));
    return Math.min(Math.max(lease.endpoint.slots * firstPerSlot, likely), mostOfOne);
  }

  #isEnding(lease: Lease, nowMs: number): boolean {
    return lease.endsAtMs - nowMs < this.#limits.renewBeforeMs;
  }

  /** Begins to ask for deliveries of an endpoint: as many as it is likely to get rid of before they are looked up again. */
  ask(lease: Lease): AskedFor {
    const { endpoint, begun } = lease;
    const nowMs = performance.now();
    lease.begunSince = new Set(begun);
    lease.isStopped = false;
    return {
      count: this.#countFor(lease, nowMs),
      // The next start of one with a rate is written, too, so it is held in its place among the others.
      isRenewed: endpoint.requests_per_minute !== null || this.#isEnding(lease, nowMs),
      begun: new Set(begun),
    };
  }

  /** There may be more for endpoints that this process has. */
  expectMore(): void {
    for (const lease of this.leases.values()) lease.hasMore = true;
  }

  /** What was asked for: it takes the place of what waited before. */
  take({ endpoint, isRenewed, due, hasMore }: TakenEndpoint, endsAtMs: number): void {
    const lease = this.leases.get(endpoint.endpoint_id) ?? new Lease(endpoint);
    this.leases.set(endpoint.endpoint_id, lease);
    this.drop(lease);
    const nowMs = performance.now();
    lease.become(endpoint, isRenewed ? endsAtMs : lease.endsAtMs, nowMs);
    if (this.#isStopping || lease.isStopped) return;
    // What was begun while the database was asked, or before the endpoint was lost and got back, may be in its answer.
    lease.waiting = due
      .filter(({ delivery: { delivery_id: id } }) => !lease.begunSince.has(id) && !lease.begun.has(id))
      .map(({ delivery, startInMs }) => ({ delivery, startAtMs: nowMs + startInMs }));
    for (const { delivery } of lease.waiting) this.#bytes += delivery.body_bytes;
    lease.hasMore = hasMore;
    this.#offer(lease);
    this.#beginAll();
  }

  /** Begins nothing more to an endpoint before it is asked for again; what waits stays queued. */
  drop(lease: Lease): void {
    for (const { delivery } of lease.waiting) this.#bytes -= delivery.body_bytes;
    lease.waiting = [];
    lease.hasMore = false;
  }

  /** Begins nothing more at all. */
  stop(): void {
    this.#isStopping = true;
    for (const lease of this.leases.values()) this.drop(lease);
  }

  release(lease: Lease): void {
    this.drop(lease);
    this.leases.delete(lease.endpoint.endpoint_id);
  }

  /** An endpoint answered a request, well or not. */
  answered(lease: Lease, hasFailed: boolean): void {
    lease.failures = hasFailed ? lease.failures + 1 : 0;
  }

  #ended(lease: Lease, delivery: DueDelivery, hostKey: string): void {
    lease.inFlight -= 1;
    this.#inFlight -= 1;
    this.#bytes -= delivery.body_bytes;
    subtract(this.#inFlightOf, lease.endpoint.workspace_id);
    subtract(this.#inFlightOf, hostKey);
    this.#offer(lease);
    for (const waiting of this.#crowded.get(hostKey) ?? []) this.#offer(waiting);
    this.#crowded.delete(hostKey);
    this.#beginAll();
  }

  /** What became of a delivery is kept, or could not be. */
  kept(lease: Lease, { delivery_id: deliveryId, lane }: DueDelivery, isStopped: boolean): void {
    lease.begun.delete(deliveryId);
    this.#unkept -= 1;
    if (isStopped) {
      lease.isStopped = true;
      this.drop(lease);
    }
    // The one behind it in its lane is let through with it.
    else if (lane !== null && !this.#isStopping) lease.hasMore = true;
    this.#offer(lease);
    this.#beginAll();
  }

  #mayBegin({ inFlight, endpoint, failures, begun }: Lease): boolean {
    return inFlight < endpoint.slots && (failures < this.#limits.breakerFailures || begun.size === 0);
  }

  #offer(lease: Lease): void {
    if (lease.isReady || lease.waiting.length === 0 || !this.#mayBegin(lease)) return;
    const { workspace_id: workspaceId } = lease.endpoint;
    const others = this.#ready.get(workspaceId);
    lease.isReady = true;
    if (others) others.push(lease);
    else this.#ready.set(workspaceId, [lease]);
  }

  #beginAll(): void {
    for (const [workspaceId, leases] of this.#ready) {
      const free = this.#limits.inFlightMax - this.#inFlight;
      if (free <= 0 || this.#unkept >= this.#limits.unkeptMax) return;
      // Who has much under way leaves the rest to others (Choudhury and Hahne, dynamic queue length thresholds, 1998).
      if ((this.#inFlightOf.get(workspaceId) ?? 0) >= free * shareOfFree) continue;
      this.#ready.delete(workspaceId);
      const lease = leases.shift()!;
      if (leases.length > 0) this.#ready.set(workspaceId, leases);
      lease.isReady = false;
      this.#beginOne(lease);
    }
  }

  #beginOne(lease: Lease): void {
    const [next] = lease.waiting;
    if (!next || !this.#mayBegin(lease)) return;
    const nowMs = performance.now();
    if (nowMs > lease.endsAtMs) {
      this.drop(lease);
      lease.hasMore = true;
      return;
    }
    if (next.startAtMs > nowMs) {
      this.#offerLater(lease, next.startAtMs - nowMs);
      return;
    }
    const { hostKey } = lease.target;
    if ((this.#inFlightOf.get(hostKey) ?? 0) >= this.#limits.perHostMax) {
      this.#crowded.set(hostKey, (this.#crowded.get(hostKey) ?? new Set()).add(lease));
      return;
    }
    const { delivery } = next;
    lease.waiting.shift();
    lease.begun.add(delivery.delivery_id);
    lease.begunSince.add(delivery.delivery_id);
    lease.inFlight += 1;
    lease.sentSince += 1;
    this.#inFlight += 1;
    this.#unkept += 1;
    add(this.#inFlightOf, lease.endpoint.workspace_id);
    add(this.#inFlightOf, hostKey);
    this.#offer(lease);
    this.#begin(lease, delivery, () => this.#ended(lease, delivery, hostKey));
  }

  #offerLater(lease: Lease, delayMs: number): void {
    lease.isReady = true;
    setTimeout(() => {
      lease.isReady = false;
      this.#offer(lease);
      this.#beginAll();
    }, delayMs).unref();
  }
}

function add(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

function subtract(counts: Map<string, number>, key: string): void {
  const left = (counts.get(key) ?? 1) - 1;
  if (left === 0) counts.delete(key);
  else counts.set(key, left);
}
