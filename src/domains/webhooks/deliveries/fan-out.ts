import type pg from 'pg';
import { insertMessages, makeMessage, type NewMessage } from '#domains/events/index.ts';
import { formatDfid, itemIdOf, tellerOf } from '#domains/items/index.ts';
import { withTransaction } from '#platform/database.ts';
import { holdWantedEndpoints, insertDeliveries, lockLane, takeFeed, type FedEvent } from './fan-out.store.ts';

const feed = { eventsMax: 100, bytesMax: 4 * 1024 * 1024 } as const;
const page = { messagesMax: 100, deliveriesMax: 2000 } as const;

/**
 * Makes messages of the next events that are committed, and the next deliveries of messages: each once, in the order in which
 * the events of an item were told, in bounded transactions, by one process at a time. No change waits for it.
 * @returns whether there is more to make; undefined when another process is at it.
 */
export function fanOut(pool: pg.Pool): Promise<{ messages: number; deliveries: number; hasMore: boolean } | undefined> {
  return withTransaction(pool, async (client) => {
    if (!(await lockLane(client))) return undefined;
    const { events, hasMore } = await takeFeed(client, feed);
    await insertMessages(client, events.map(messageOf), true);
    const held = await holdWantedEndpoints(client, page);
    const made = await insertDeliveries(client, page, held);
    return {
      messages: events.length,
      deliveries: made.deliveries,
      hasMore: hasMore || made.messages === page.messagesMax || made.done < made.messages,
    };
  });
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
