import type { z } from 'zod';

/** Names of messages that are no events of items, which records cannot use for theirs; nor can they use those about webhooks. */
const noticeNames = ['receipt_settled', 'item_stored', 'item_anchored'] as const;
const webhookNames = 'webhook_';

/** A type of such messages. */
export type NoticeType = MessageType & { readonly name: (typeof noticeNames)[number] };

/** Whether events that records bring cannot have a type. */
export function isReservedType(name: string): boolean {
  return name.startsWith(webhookNames) || (noticeNames as readonly string[]).includes(name);
}

/** What endpoints are told of, as they choose it. Each domain lists its own. */
export interface MessageType {
  readonly name: string;
  readonly description: string;
  /** What is told, and its shortest form. */
  readonly data: z.ZodType;
  readonly thinData: z.ZodType;
}
