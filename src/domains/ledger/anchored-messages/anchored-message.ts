import { z } from 'zod';
import { makeMessage, type NoticeType, type NewMessage } from '#domains/events/index.ts';
import { itemIdOf } from '#domains/items/index.ts';
import { makeId } from '#platform/ids.ts';
import type { ProofBundle } from '../ledger.schema.ts';
import { dfidOfRow } from '../logged-version.ts';
import type { ProvenVersionRow } from '../log.store.ts';

/** What endpoints are told of a version that is anchored. */
export const anchoredMessageType = {
  name: 'item_anchored',
  description:
    'A version of an item is in a checkpoint of the log that is anchored on a public ledger. A version that another one followed before the log came to it has no entry of its own.',
  data: z.object({
    dfid: z.string(),
    item_id: z.uuid(),
    version: z.number().int(),
    proof: z.looseObject({ format: z.literal('defarm-proof-v1') }).meta({
      description: 'The proof, as GET /api/items/{dfid}/proof gives it: keep it, and check it offline',
    }),
  }),
  thinData: z.object({ dfid: z.string(), version: z.number().int() }),
} as const satisfies NoticeType;

/** Tells a workspace that a version of one of its items is anchored, with the proof. */
export function anchoredMessage(row: ProvenVersionRow, proof: ProofBundle): NewMessage {
  const [dfid, version] = [dfidOfRow(row), row.version];
  return makeMessage({
    messageId: makeId(),
    workspaceId: row.workspace_id,
    messageType: anchoredMessageType.name,
    itemNumber: row.item_number,
    at: new Date(),
    data: { dfid, item_id: itemIdOf(row.item_number), version, proof },
    thinData: { dfid, version },
  });
}
