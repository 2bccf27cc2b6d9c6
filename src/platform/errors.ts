interface ProblemDefinition {
  readonly status: number;
  readonly title: string;
}

/**
 * Every error a client can meet, by its code: problem documents of the API (RFC 9457) and, with status 422, the reasons
 * for which one record of a receipt is refused. `docs/errors.md` is generated from this table.
 */
export const problemDefinitions = {
  malformed_request: { status: 400, title: 'The request cannot be read' },
  invalid_query: { status: 400, title: 'A query parameter is not valid' },
  invalid_header: { status: 400, title: 'A header is not valid' },
  invalid_webhook_secret: { status: 400, title: 'The secret of the webhook cannot be used' },
  empty_body: { status: 400, title: 'The body is empty' },
  malformed_json: { status: 400, title: 'The body is not valid JSON' },
  invalid_form: { status: 400, title: 'The form cannot be used' },
  invalid_csv_header: { status: 400, title: 'The header line of the CSV cannot be used' },
  unknown_strategy: { status: 400, title: 'The merge strategy is not known' },
  unauthenticated: { status: 401, title: 'Credentials are missing or not valid' },
  insufficient_scope: { status: 403, title: 'These credentials do not allow this' },
  not_found: { status: 404, title: 'There is nothing here that you may see' },
  method_not_allowed: { status: 405, title: 'This path does not take this method' },
  slow_body: { status: 408, title: 'The body arrived too slowly' },
  item_merged: { status: 409, title: 'The item was merged into another, which takes its place' },
  record_conflicted: { status: 409, title: 'The record contradicts what is known, and waits for review' },
  administrator_required: { status: 403, title: 'Only an administrator of the installation may decide this' },
  item_not_merged: { status: 400, title: 'The item is not merged' },
  primary_merged: { status: 409, title: 'The item that it became was merged itself' },
  item_archived: { status: 409, title: 'The item is archived' },
  entry_withdrawn: { status: 409, title: 'The entry was withdrawn before' },
  conflict_resolved: { status: 409, title: 'The conflict was resolved before' },
  idempotency_key_in_use: { status: 409, title: 'The first request with this key is still being worked on' },
  local_item_differs: { status: 409, title: 'Another record was collected under this local id' },
  local_item_merged: { status: 409, title: 'This local item is merged into another' },
  local_item_not_merged: { status: 409, title: 'This local item is not merged into another' },
  local_item_tokenized: { status: 409, title: 'This local item has its DFID, and changes no more' },
  local_master_among_merged: { status: 409, title: 'A local item cannot be merged into itself' },
  identifier_type_name_taken: { status: 409, title: 'Another type of identifiers has this name' },
  identifier_type_in_use: { status: 409, title: 'Items were told apart by this type of identifiers' },
  snapshot_damaged: { status: 409, title: 'The snapshot is not what it was when it was made' },
  restoration_completed: { status: 409, title: 'The restoration is completed, and changes no more' },
  webhook_disabled: { status: 409, title: 'The webhook is switched off' },
  not_pending: { status: 409, title: 'The record does not wait for a decision, or not any more' },
  name_in_use: { status: 409, title: 'There is one with this name already' },
  body_erased: { status: 410, title: 'The bytes were erased after their retention time' },
  precondition_failed: { status: 412, title: 'What you refer to has changed meanwhile' },
  body_too_large: { status: 413, title: 'The body is over the limit' },
  unsupported_media_type: { status: 415, title: 'This kind of content is not taken here' },
  idempotency_key_reused: { status: 422, title: 'This key was used for a different request' },
  invalid_request: { status: 422, title: 'The request breaks a rule' },
  case_too_large: { status: 422, title: 'Too many records wait in this conflict to be decided like this at once' },
  local_group_too_large: { status: 422, title: 'The local items are too many or too large to be merged' },
  headers_too_large: { status: 431, title: 'The URL and headers are over the limit' },
  internal_error: { status: 500, title: 'Something went wrong on our side' },
  webhooks_unavailable: { status: 501, title: 'This installation keeps no webhooks' },
  overloaded: { status: 503, title: 'The service takes no more at this moment' },
  unavailable: { status: 503, title: 'The service cannot keep what you sent at this moment' },

  invalid_json: { status: 422, title: 'The record is not valid JSON' },
  invalid_utf8: { status: 422, title: 'The record is not valid in its character set' },
  duplicate_key: { status: 422, title: 'A key stands twice in one object' },
  null_character: { status: 422, title: 'A string holds U+0000' },
  lone_surrogate: { status: 422, title: 'A string holds half of a surrogate pair' },
  number_not_interoperable: { status: 422, title: 'A number would not survive in another system' },
  too_deep: { status: 422, title: 'The record is nested too deeply' },
  record_too_large: { status: 422, title: 'The record is too large' },
  record_not_found: { status: 422, title: 'The record could not be read again' },
  too_many_members: { status: 422, title: 'The record names too many things' },
  not_an_object: { status: 422, title: 'A record must be a JSON object' },
  unknown_member: { status: 422, title: 'The record has a member that is not known' },
  invalid_member: { status: 422, title: 'A member of the record has the wrong shape' },
  unknown_value_chain: { status: 422, title: 'The value chain is not known' },
  invalid_country: { status: 422, title: 'The country is not an ISO 3166-1 alpha-2 code' },
  invalid_year: { status: 422, title: 'The year is not a whole number from 1900 to 2100' },
  invalid_occurred_at: { status: 422, title: 'The time is not an RFC 3339 date-time up to five minutes ahead' },
  empty_record: { status: 422, title: 'The record says nothing' },
  no_identifying_identifier: { status: 422, title: 'Nothing in the record can identify an item' },
  blank_identifier: { status: 422, title: 'An identifier is blank' },
  identifier_too_long: { status: 422, title: 'An identifier is too long' },
  invalid_identifier: { status: 422, title: 'An identifier does not have the form of its type' },
  wrong_check_digit: { status: 422, title: 'The check digit of an identifier is wrong' },
  spreadsheet_damage: { status: 422, title: 'A spreadsheet has rounded this identifier' },
  control_character: { status: 422, title: 'An identifier holds a control character' },
  csv_column_count: { status: 422, title: 'The line does not have as many columns as the header' },
  csv_stray_quote: { status: 422, title: 'A quote stands inside an unquoted field' },
  csv_unterminated_quote: { status: 422, title: 'A quoted field does not end' },
  unprocessable_record: { status: 422, title: 'The database cannot hold this record' },
  identifier_conflict: { status: 422, title: 'The identifiers contradict what is known' },
  rejected_by_decision: { status: 422, title: 'A person rejected what these identifiers say' },
  processing_failed: { status: 422, title: 'Working on this record failed repeatedly' },
  quality_rule: { status: 422, title: 'The record breaks a quality rule of the workspace' },
} as const satisfies Record<string, ProblemDefinition>;

/** A code of the registry above. */
export type ProblemCode = keyof typeof problemDefinitions;

/** One place of a request that breaks a rule. `pointer` is an RFC 6901 pointer into the body, or names a parameter. */
export interface ProblemLocation {
  pointer: string;
  code: string;
  detail: string;
}

interface ProblemOptions {
  errors?: readonly ProblemLocation[];
  headers?: Readonly<Record<string, string>>;
  /** Further members of the problem document (RFC 9457, 3.2), with snake_case names. */
  members?: Readonly<Record<string, unknown>>;
  cause?: unknown;
}

/** An error that is meant for the client: its detail and locations are shown, its cause is only logged. */
export class Problem extends Error {
  readonly code: ProblemCode;
  readonly status: number;
  readonly errors: readonly ProblemLocation[];
  readonly headers: Readonly<Record<string, string>>;
  readonly members: Readonly<Record<string, unknown>>;

  constructor(code: ProblemCode, detail: string, options: ProblemOptions = {}) {
    super(detail, { cause: options.cause });
    this.name = 'Problem';
    this.code = code;
    this.status = problemDefinitions[code].status;
    this.errors = options.errors ?? [];
    this.headers = options.headers ?? {};
    this.members = options.members ?? {};
  }
}

/** What is wrong at one place of a body that is well-formed. */
export function invalidRequestAt(pointer: string, detail: string): Problem {
  return new Problem('invalid_request', detail, { errors: [{ pointer, code: 'invalid_request', detail }] });
}

/** The five-character SQLSTATE of a Postgres error, if it is one. */
export function sqlStateOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  const { code } = error;
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

/** True for SQLSTATE classes that say the data itself cannot be stored: 22 data, 23 constraint, 54 limit. */
export function isDataError(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state !== undefined && ['22', '23', '54'].includes(state.slice(0, 2));
}

/** True for SQLSTATE classes of a database that is away or takes no more: 08 connection, 57 intervention, 53 resources. */
export function isDatabaseAwayError(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state !== undefined && ['08', '57', '53'].includes(state.slice(0, 2));
}

/**
 * True when the same again may succeed in a moment: the database, or the way to it, is away, somebody holds a lock for long, or
 * a transaction was chosen to end a deadlock (SQLSTATE class 40).
 */
export function isPassingError(error: unknown): boolean {
  if (isDatabaseAwayError(error) || isLockTimeout(error) || sqlStateOf(error)?.startsWith('40') === true) return true;
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  return (
    /^E[A-Z]+$/.test(String(code)) || /Connection terminated|connection error|trying to connect/.test(String(message))
  );
}

/** True when tables or columns are missing: the release step has not run yet. SQLSTATE 42P01, 42703. */
export function isSchemaBehindError(error: unknown): boolean {
  return ['42P01', '42703'].includes(sqlStateOf(error) ?? '');
}

/** True when somebody else held a lock for longer than the session waits. SQLSTATE 55P03. */
export function isLockTimeout(error: unknown): boolean {
  return sqlStateOf(error) === '55P03';
}

/** True for failures that a fresh try of the whole transaction may not meet: deadlock, serialization, lock time-out. */
export function isTransientConflict(error: unknown): boolean {
  return ['40001', '40P01', '55P03'].includes(sqlStateOf(error) ?? '');
}
