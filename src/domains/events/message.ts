/** What endpoints of a workspace are told. */
export interface NewMessage {
  readonly messageId: string;
  readonly workspaceId: string;
  readonly messageType: string;
  readonly itemNumber: number | null;
  readonly body: string;
  readonly thinBody: string;
  readonly createdAtMs: number;
}

/**
 * Makes a message; its bodies are made once, so that all attempts send the same bytes. `insertNotices` makes bodies of the same
 * form in SQL.
 * @param at when it happened.
 */
export function makeMessage({
  data,
  thinData,
  at,
  ...message
}: Omit<NewMessage, 'body' | 'thinBody' | 'createdAtMs'> & {
  readonly data: object;
  readonly thinData: object;
  readonly at: Date;
}): NewMessage {
  const bodyOf = (of: object) => JSON.stringify({ type: message.messageType, timestamp: at.toISOString(), data: of });
  return { ...message, body: bodyOf(data), thinBody: bodyOf(thinData), createdAtMs: at.getTime() };
}
