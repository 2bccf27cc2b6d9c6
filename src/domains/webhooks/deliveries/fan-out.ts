import type pg from 'pg';
import { insertMessages, makeMessage, type NewMessage } from '#domains/events/index.ts';
import { formatDfid, itemIdOf, tellerOf } from '#domains/items/index.ts';
import { withTransaction } from '#platform/database.ts';
import {
  findPendingWorkspaces,
  holdPage,
  insertDeliveries,
  lockLane,
  takeFeed,
  type FedEvent,
  type PageLimits,
} from './fan-out.store.ts';

const feed = { eventsMax: 200, bytesMax: 4 * 1024 * 1024 } as const;
const page = { messagesMax: 100, deliveriesMax: 2000 } as const;
const workspacesMax = 100;
/** A statement that takes longer looks for too much at once, or into lists that are too long. */
const statementTimeoutMs = 2000;
/** What was too much is tried again as this part of it. */
const fewer = 50;
const queryCanceled = '57014';
const noWorkspace = '00000000-0000-0000-0000-000000000000';

/** What a step made, and whether there is more to make. */
interface Step {
  readonly messages: number;
  readonly deliveries: number;
  readonly hasMore: boolean;
}

/**
 * Makes messages of the events that are committed, and deliveries of messages: each once, in the order in which the events of an
 * item were told, in bounded transactions, by one process at a time. No change waits for it. Workspaces take turns; one whose
 * filters take too long is served alone and by ever less at a time, so that it holds up no other.
 */
export class FanOut {
  readonly #pool: pg.Pool;
  /** How many deliveries at a time are made of workspaces with which a step took too long. */
  readonly #slow = new Map<string, number>();
  #served = noWorkspace;

  constructor(pool: pg.Pool) {
    this.#pool = pool;
  }

  /** @returns undefined when another process is at it. */
  async step(): Promise<Step | undefined> {
    const fed = await this.#inLane(undefined, async (client) => {
      const { events, hasMore } = await takeFeed(client, feed);
      await insertMessages(client, events.map(messageOf), true);
      const workspaceIds = await findPendingWorkspaces(client, this.#served, workspacesMax);
      return { messages: events.length, hasMore, workspaceIds };
    });
    if (!fed) return undefined;
    const { workspaceIds } = fed;
    const isRoundOver = workspaceIds.length < workspacesMax;
    const hasMore = fed.hasMore || !isRoundOver || this.#served !== noWorkspace;
    this.#served = isRoundOver ? noWorkspace : workspaceIds.at(-1)!;
    const quick = await this.#makeQuick(workspaceIds.filter((id) => !this.#slow.has(id)));
    const slow = await this.#makeSlow();
    return {
      messages: fed.messages,
      deliveries: quick.deliveries + slow.deliveries,
      hasMore: hasMore || quick.hasMore || slow.hasMore,
    };
  }

  async #makeQuick(workspaceIds: readonly string[]): Promise<Omit<Step, 'messages'>> {
    if (workspaceIds.length === 0) return { deliveries: 0, hasMore: false };
    const made = await this.#makePage({ ...page, workspaceIds, ignoresFilters: false });
    if (made !== 'slow') return made;
    for (const workspaceId of workspaceIds) this.#slow.set(workspaceId, page.deliveriesMax);
    return { deliveries: 0, hasMore: true };
  }

  /** Makes some of the one of them whose turn it is. */
  async #makeSlow(): Promise<Omit<Step, 'messages'>> {
    const [first] = this.#slow;
    if (!first) return { deliveries: 0, hasMore: false };
    const [workspaceId, deliveriesMax] = first;
    this.#slow.delete(workspaceId);
    const limits = {
      workspaceIds: [workspaceId],
      messagesMax: deliveriesMax === 1 ? 1 : page.messagesMax,
      deliveriesMax,
    };
    const made = await this.#makePage({ ...limits, ignoresFilters: false });
    if (made !== 'slow') {
      if (deliveriesMax < page.deliveriesMax && made.hasMore) this.#slow.set(workspaceId, deliveriesMax * 2);
      return { ...made, hasMore: made.hasMore || this.#slow.size > 0 };
    }
    this.#slow.set(workspaceId, Math.max(1, Math.floor(deliveriesMax / fewer)));
    // Rather what was not asked for than nothing.
    const passed = deliveriesMax === 1 && (await this.#makePage({ ...limits, ignoresFilters: true }));
    return { deliveries: passed && passed !== 'slow' ? passed.deliveries : 0, hasMore: true };
  }

  async #makePage(limits: PageLimits): Promise<Omit<Step, 'messages'> | 'slow'> {
    try {
      const made = await this.#inLane(statementTimeoutMs, async (client) => {
        const held = await holdPage(client, limits);
        return {
          deliveries: await insertDeliveries(client, held),
          hasMore: held.is_full || held.reached_endpoints.some((id) => id !== null),
        };
      });
      return made ?? { deliveries: 0, hasMore: false };
    } catch (error) {
      if ((error as { code?: unknown }).code === queryCanceled) return 'slow';
      throw error;
    }
  }

  /** @returns undefined when another process has the lane. */
  #inLane<Result>(
    timeoutMs: number | undefined,
    work: (client: pg.PoolClient) => Promise<Result>,
  ): Promise<Result | undefined> {
    return withTransaction(this.#pool, async (client) =>
      (await lockLane(client, timeoutMs)) ? work(client) : undefined,
    );
  }
}

/** What is told of an event. */
export function messageOf(event: FedEvent): NewMessage {
  const { event_id: id, item_number: itemNumber } = event;
  const [dfid, toldBy] = [dfidOf(event), tellerOf(event, event.is_keyless)];
  return makeMessage({
    messageId: id,
    workspaceId: event.workspace_id,
    messageType: event.event_type,
    itemNumber,
    at: event.created_at,
    data: {
      id,
      source_type: itemNumber === null ? 'conflict' : 'item',
      dfid,
      item_id: itemNumber === null ? null : itemIdOf(itemNumber),
      told_by: toldBy,
      occurred_at: event.occurred_at.toISOString(),
      visibility: event.visibility,
      payload: event.payload,
    },
    thinData: { id, dfid, told_by: toldBy },
  });
}

function dfidOf({ item_number: sequence, value_chain: valueChain, country, year }: FedEvent): string | null {
  if (sequence === null || valueChain === null || country === null || year === null) return null;
  return formatDfid({ valueChain, country, year, sequence });
}
