import type pg from 'pg';
import { insertMessages, type NewMessage } from '#domains/events/index.ts';
import { formatDfid, itemIdOf } from '#domains/items/index.ts';
import { withTransaction } from '#platform/database.ts';
import { holdWantedEndpoints, insertDeliveries, lockLane, takeFeed, type FedEvent } from './fan-out.store.ts';

const eventsAtOnce = 100;
const page = { messagesMax: 100, deliveriesMax: 2000 } as const;

/**
 * Makes messages of the next events that are committed, and the next deliveries of messages: each once, in the order in which
 * the events of an item were told, in bounded transactions, by one process at a time. No change waits for it.
 * @returns whether there is more to make; undefined when another process is at it.
 */
export function fanOut(pool: pg.Pool): Promise<{ messages: number; deliveries: number; hasMore: boolean } | undefined> {
  return withTransaction(pool, async (client) => {
    if (!(await lockLane(client))) return undefined;
    const { events, taken } = await takeFeed(client, eventsAtOnce);
    await insertMessages(client, events.map(messageOf), true);
    const held = await holdWantedEndpoints(client, page);
    const made = await insertDeliveries(client, page, held);
    return {
      messages: events.length,
      deliveries: made.deliveries,
      hasMore: taken === eventsAtOnce || made.messages === page.messagesMax || made.done < made.messages,
    };
  });
}

/** The body of each is made once, so that all attempts send the same bytes. */
export function messageOf(event: FedEvent): NewMessage {
  const timestamp = event.created_at.toISOString();
  const dfid = dfidOf(event);
  const data = {
    id: event.event_id,
    source_type: event.item_number === null ? 'conflict' : 'item',
    dfid,
    item_id: event.item_number === null ? null : itemIdOf(event.item_number),
    occurred_at: event.occurred_at.toISOString(),
    visibility: event.visibility,
    payload: event.payload,
  };
  const bodyOf = (of: object) => JSON.stringify({ type: event.event_type, timestamp, data: of });
  return {
    messageId: event.event_id,
    workspaceId: event.workspace_id,
    messageType: event.event_type,
    itemNumber: event.item_number,
    body: bodyOf(data),
    thinBody: bodyOf({ id: event.event_id, dfid }),
    createdAtMs: event.created_at.getTime(),
  };
}

function dfidOf({ item_number: sequence, value_chain: valueChain, country, year }: FedEvent): string | null {
  if (sequence === null || valueChain === null || country === null || year === null) return null;
  return formatDfid({ valueChain, country, year, sequence });
}
