/** What is told of something that is no event of an item, and to whom. */
interface Notice {
  /** The type of the message. */
  readonly type: string;
  /** The relation whose rows are told, with a column `workspace_id`. */
  readonly source: string;
  /** SQL of the JSON that is told, and of its shortest form, over the columns of the relation. */
  readonly data: string;
  readonly thinData: string;
}

/**
 * The statement that tells workspaces which have endpoints of something, for the statement that makes it happen: so it is
 * told if and only if it happened.
 */
export function insertNotices({ type, source, data, thinData }: Notice): string {
  const bodyOf = (of: string) => `json_build_object('type', '${type}',
      'timestamp', to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), 'data', ${of})::text`;
  return `insert into webhook_messages (message_id, workspace_id, message_type, body, thin_body)
    select gen_random_uuid(), workspace_id, '${type}', ${bodyOf(data)}, ${bodyOf(thinData)}
    from ${source} as told where workspace_id in (select workspace_id from webhook_workspaces)`;
}
