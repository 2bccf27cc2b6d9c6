import { z } from 'zod';
import { makeMessage, type NoticeType, type NewMessage } from '#domains/events/index.ts';
import { formatDfid, itemIdOf } from '#domains/items/index.ts';
import { makeId } from '#platform/ids.ts';
import type { StoredContentRow } from './batches.store.ts';
import type { AdapterName } from './scope-settings.ts';

/** What endpoints are told of a content that is stored. */
export const storedMessageType = {
  name: 'item_stored',
  description: 'A version of an item is stored outside of this system, as your settings of storage say.',
  data: z.object({
    dfid: z.string(),
    item_id: z.uuid(),
    version: z.number().int(),
    kind: z.enum(['public', 'encrypted']),
    cid: z.string(),
    adapter: z.string(),
  }),
  thinData: z.object({ dfid: z.string(), version: z.number().int() }),
} as const satisfies NoticeType;

/** Tells a workspace where a content of one of its items is stored. */
export function storedMessage(content: StoredContentRow, adapter: AdapterName): NewMessage {
  const { value_chain: valueChain, country, year, item_number: sequence, version, kind, cid } = content;
  const dfid = formatDfid({ valueChain, country, year, sequence });
  return makeMessage({
    messageId: makeId(),
    workspaceId: content.workspace_id,
    messageType: storedMessageType.name,
    itemNumber: sequence,
    at: new Date(),
    data: { dfid, item_id: itemIdOf(sequence), version, kind, cid, adapter },
    thinData: { dfid, version },
  });
}
