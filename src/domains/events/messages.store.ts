import { int8Array, textArray, timestamptzArray, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import type { NewMessage } from './message.ts';

/**
 * Keeps messages, in their order; one that is there already stays as it is, but is for all if it was not.
 * @param isForAll whether deliveries are made for all endpoints that want them, and not only where somebody asks.
 */
export async function insertMessages(
  queryable: Queryable,
  messages: readonly NewMessage[],
  isForAll: boolean,
): Promise<void> {
  if (messages.length === 0) return;
  await queryable.query({
    name: isForAll ? 'insert_webhook_messages' : 'insert_single_webhook_messages',
    text: `insert into webhook_messages (message_id, workspace_id, message_type, item_number, body, thin_body, created_at, fanned_until)
           select message_id, workspace_id, message_type, item_number, body, thin_body, created_at,
                  case when $8::bool then '00000000-0000-0000-0000-000000000000'::uuid end
           from unnest($1::uuid[], $2::uuid[], $3::text[], $4::int8[], $5::text[], $6::text[], $7::timestamptz[]) with ordinality
             as told (message_id, workspace_id, message_type, item_number, body, thin_body, created_at, place)
           order by place
           on conflict (message_id) ${isForAll ? 'do update set fanned_until = excluded.fanned_until' : 'do nothing'}`,
    values: [
      uuidArray(messages.map(({ messageId }) => messageId)),
      uuidArray(messages.map(({ workspaceId }) => workspaceId)),
      textArray(messages.map(({ messageType }) => messageType)),
      int8Array(messages.map(({ itemNumber }) => itemNumber)),
      textArray(messages.map(({ body }) => body)),
      textArray(messages.map(({ thinBody }) => thinBody)),
      timestamptzArray(messages.map(({ createdAtMs }) => createdAtMs * 1000)),
      isForAll,
    ],
  });
}

/** Those of the workspaces that have an endpoint which wants messages of a type, switched on or not. */
export async function findListeningWorkspaces(queryable: Queryable, messageType: string): Promise<string[]> {
  const { rows } = await queryable.query<{ workspace_id: string }>({
    name: 'find_listening_workspaces',
    text: `select workspace_id from webhook_workspaces
           where exists (select from webhook_endpoints as endpoints
                         where endpoints.workspace_id = webhook_workspaces.workspace_id and (event_types = '{}' or $1 = any(event_types)))`,
    values: [messageType],
  });
  return rows.map((row) => row.workspace_id);
}

/** A message of a workspace that is not erased; undefined for none. */
export async function findMessage(
  queryable: Queryable,
  workspaceId: string,
  messageId: string,
): Promise<NewMessage | undefined> {
  const { rows } = await queryable.query<{
    message_type: string;
    item_number: number | null;
    body: string;
    thin_body: string;
    created_at: Date;
  }>({
    name: 'find_message',
    text: `select message_type, item_number, body, thin_body, created_at from webhook_messages
           where workspace_id = $1 and message_id = $2 and body is not null`,
    values: [workspaceId, messageId],
  });
  const [row] = rows;
  return (
    row && {
      messageId,
      workspaceId,
      messageType: row.message_type,
      itemNumber: row.item_number,
      body: row.body,
      thinBody: row.thin_body,
      createdAtMs: row.created_at.getTime(),
    }
  );
}
