import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { DueDelivery, LeasedEndpoint } from '../deliveries/queue.store.ts';
import { DeliveryScheduler, type Lease, type SchedulerLimits } from './delivery-scheduler.ts';

interface Begun {
  readonly lease: Lease;
  readonly delivery: DueDelivery;
  readonly ended: () => void;
}

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance', 'setTimeout'] }));
afterEach(() => void vi.useRealTimers());

const ample: SchedulerLimits = {
  inFlightMax: 1000,
  unkeptMax: 1000,
  breakerFailures: 5,
  perHostMax: 1000,
  bytesMax: 1_000_000,
  renewBeforeMs: 5000,
  freshMs: 1000,
  leasesMax: 1000,
  turnMs: 5000,
};

function schedule(limits: Partial<SchedulerLimits> = {}) {
  const begun: Begun[] = [];
  const scheduler = new DeliveryScheduler({ ...ample, ...limits }, (lease, delivery, ended) => {
    begun.push({ lease, delivery, ended });
  });
  return { scheduler, begun };
}

function endpoint(id: string, more: Partial<LeasedEndpoint> = {}): LeasedEndpoint {
  return {
    endpoint_id: id,
    workspace_id: 'one',
    url: `https://${id}.example.com/hook`,
    slots: 4,
    failures: 0,
    requests_per_minute: null,
    ...more,
  } as LeasedEndpoint;
}

const deliveries = (id: string, count: number): DueDelivery[] =>
  Array.from(
    { length: count },
    (_, at) => ({ delivery_id: `${id}-${at}`, lane: null, body: '{}', body_bytes: 2 }) as DueDelivery,
  );

function give(scheduler: DeliveryScheduler, to: LeasedEndpoint, count: number, apartMs = 0): void {
  const due = deliveries(to.endpoint_id, count).map((delivery, at) => ({ delivery, startInMs: at * apartMs }));
  scheduler.take({ endpoint: to, isRenewed: true, due, hasMore: false }, performance.now() + 8000);
}
const idsOf = (begun: readonly Begun[]) => begun.map(({ delivery }) => delivery.delivery_id);

test('an endpoint has no more requests at a time than it has slots, and the next one begins when one ends', () => {
  const { scheduler, begun } = schedule();
  give(scheduler, endpoint('a', { slots: 2 }), 4);
  const before = idsOf(begun);

  begun[0]!.ended();

  expect([before, idsOf(begun)]).toEqual([
    ['a-0', 'a-1'],
    ['a-0', 'a-1', 'a-2'],
  ]);
});

test('who hangs with everything leaves room to others, however many endpoints it has', () => {
  const { scheduler, begun } = schedule({ inFlightMax: 100 });
  for (let at = 0; at < 50; at += 1) give(scheduler, endpoint(`hanging-${at}`), 4);
  const hanging = begun.length;

  give(scheduler, endpoint('other', { workspace_id: 'two' }), 4);

  expect(hanging).toBeLessThanOrEqual(80);
  expect(begun.length - hanging).toBe(4);
});

test('workspaces take turns, and so do the endpoints of each', () => {
  const { scheduler, begun } = schedule({ inFlightMax: 1 });
  give(scheduler, endpoint('first'), 1);
  for (const id of ['a', 'b']) give(scheduler, endpoint(id), 2);
  give(scheduler, endpoint('z', { workspace_id: 'two' }), 3);

  for (let at = 0; at < 7; at += 1) begun[at]!.ended();

  expect(idsOf(begun)).toEqual(['first-0', 'a-0', 'z-0', 'b-0', 'z-1', 'a-1', 'z-2', 'b-1']);
});

test('one workspace does not flood a host, and another one does not wait for it', () => {
  const { scheduler, begun } = schedule({ perHostMax: 3 });
  const url = 'https://shared.example.com/';
  for (const id of ['a', 'b']) give(scheduler, endpoint(id, { url }), 4);
  give(scheduler, endpoint('other', { url, workspace_id: 'two' }), 1);
  const before = idsOf(begun).toSorted();

  begun[0]!.ended();

  expect(before).toEqual(['a-0', 'a-1', 'a-2', 'other-0']);
  expect(begun).toHaveLength(5);
});

test('a rate lets deliveries begin at their times', async () => {
  const { scheduler, begun } = schedule();
  give(scheduler, endpoint('a', { requests_per_minute: 600 }), 3, 100);
  const counts: number[] = [];
  for (const ms of [0, 50, 50, 100]) {
    await vi.advanceTimersByTimeAsync(ms);
    counts.push(begun.length);
  }

  expect(counts).toEqual([1, 1, 2, 3]);
});

test('nothing begins on a lease that has ended, and it is asked for again', async () => {
  const { scheduler, begun } = schedule();
  give(scheduler, endpoint('a', { slots: 1 }), 2);
  await vi.advanceTimersByTimeAsync(9000);

  begun[0]!.ended();

  expect(idsOf(begun)).toEqual(['a-0']);
  expect(scheduler.wants().more).toHaveLength(1);
});

test('what was begun while the database was asked is not begun again by its answer', () => {
  const { scheduler, begun } = schedule();
  const one = endpoint('a', { slots: 1 });
  give(scheduler, one, 2);
  const lease = scheduler.leases.get('a')!;
  const { begun: excluded } = scheduler.ask(lease);
  begun[0]!.ended();
  scheduler.kept(lease, begun[0]!.delivery, false);
  begun[1]!.ended();
  scheduler.kept(lease, begun[1]!.delivery, false);

  give(scheduler, one, 3);

  expect([...excluded]).toEqual(['a-0']);
  expect(idsOf(begun)).toEqual(['a-0', 'a-1', 'a-2']);
});

test('an endpoint is given back when all of it is kept, and not before', () => {
  const { scheduler, begun } = schedule();
  give(scheduler, endpoint('a'), 1);
  begun[0]!.ended();
  const before = scheduler.wants().released.length;

  scheduler.kept(begun[0]!.lease, begun[0]!.delivery, false);

  expect([before, scheduler.wants().released.length]).toEqual([0, 1]);
});

test('no more begins than the database keeps up with', () => {
  const { scheduler, begun } = schedule({ unkeptMax: 2 });
  give(scheduler, endpoint('a'), 3);
  const [first, second] = begun;
  first!.ended();
  second!.ended();
  const before = begun.length;

  scheduler.kept(begun[0]!.lease, begun[0]!.delivery, false);

  expect([before, begun.length]).toEqual([2, 3]);
});

test('who has every place makes room for others when its time is over', async () => {
  const { scheduler, begun } = schedule({ leasesMax: 2, inFlightMax: 2 });
  for (const id of ['a', 'b']) give(scheduler, endpoint(id, { slots: 1 }), 5);
  const { room } = scheduler.wants();
  await vi.advanceTimersByTimeAsync(6000);
  const before = scheduler.wants();
  for (const { lease, delivery, ended } of begun.slice(0, 2)) {
    ended();
    scheduler.kept(lease, delivery, false);
  }

  expect([room, before.room, before.released.length]).toEqual([0, 0, 0]);
  expect(begun).toHaveLength(2);
  expect(scheduler.wants().released).toHaveLength(2);
});

test('a lease is renewed in time, whatever waits for its rate, and while the process ends', async () => {
  const { scheduler, begun } = schedule();
  give(scheduler, endpoint('slow', { slots: 1, requests_per_minute: 60 }), 3, 1000);
  const early = scheduler.wants().more.length;
  await vi.advanceTimersByTimeAsync(3500);
  const running = scheduler.wants().more.length;
  scheduler.stop();
  const ending = scheduler.wants();
  give(scheduler, endpoint('slow', { slots: 1, requests_per_minute: 60 }), 3);

  expect([early, running, ending.more.length, ending.released.length]).toEqual([0, 1, 1, 0]);
  expect(begun).toHaveLength(1);
});

test('the database is asked for more in steps, for those first that have the least left', async () => {
  const { scheduler } = schedule({ inFlightMax: 0 });
  for (let at = 0; at < 300; at += 1) give(scheduler, endpoint(`busy-${at}`), 20);
  for (let at = 0; at < 10; at += 1) give(scheduler, endpoint(`short-${at}`), 1);
  await vi.advanceTimersByTimeAsync(1500);

  const { more } = scheduler.wants();
  const asked = more.map((lease) => scheduler.ask(lease).count);

  expect(more.slice(0, 10).map(({ endpoint: { endpoint_id: id } }) => id)).toEqual(
    Array.from({ length: 10 }, (_, at) => `short-${at}`),
  );
  expect(asked.reduce((sum, count) => sum + count, 0)).toBe(2000);
});

test('after five failures in a row no other request begins before it is kept what became of them, and then one alone', () => {
  const { scheduler, begun } = schedule();
  give(scheduler, endpoint('a', { slots: 1 }), 10);
  const answer = (at: number, hasFailed: boolean) => {
    scheduler.answered(begun[at]!.lease, hasFailed);
    begun[at]!.ended();
  };
  const keep = (at: number) => scheduler.kept(begun[at]!.lease, begun[at]!.delivery, false);
  for (let at = 0; at < 5; at += 1) answer(at, true);
  const whileUnkept = begun.length;
  for (let at = 0; at < 5; at += 1) keep(at);
  const probing = begun.length;

  answer(5, true);
  const afterProbe = begun.length;
  keep(5);
  answer(6, false);

  expect([whileUnkept, probing, afterProbe, begun.length]).toEqual([5, 6, 6, 8]);
});

test('an endpoint that was stopped while the database was asked is sent nothing of its answer', () => {
  const { scheduler, begun } = schedule();
  const to = endpoint('a', { slots: 1 });
  give(scheduler, to, 1);
  scheduler.ask(scheduler.leases.get('a')!);
  begun[0]!.ended();
  scheduler.kept(begun[0]!.lease, begun[0]!.delivery, true);

  give(scheduler, to, 5);

  expect(begun).toHaveLength(1);
});

test('bodies that fill what one process may hold leave room for the endpoints of others', () => {
  const { scheduler } = schedule({ bytesMax: 10, inFlightMax: 0 });
  give(scheduler, endpoint('large'), 5);
  const full = scheduler.wants();
  give(scheduler, endpoint('larger'), 5);

  expect([full.bytes, full.room > 0, scheduler.wants().room]).toEqual([0, true, 0]);
});
