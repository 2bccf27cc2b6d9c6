import { z } from 'zod';
import type { Knex } from '#platform/database.ts';
import { Problem } from '#platform/errors.ts';
import { isUuid } from '#platform/ids.ts';

/** Rows that a list counts exactly; beyond it, `total` is a lower bound. */
export const countedAtMost = 10_000;

const limitMax = 1000;

/** The query parameters that every list takes. */
export const pageQuery = {
  limit: z.coerce
    .number()
    .int()
    .min(1)
    .max(limitMax)
    .default(50)
    .meta({ description: `Rows on a page, at most ${limitMax}` }),
  offset: z.coerce
    .number()
    .int()
    .min(0)
    .max(1_000_000)
    .default(0)
    .meta({ description: 'Rows to skip, when no cursor is given' }),
  cursor: z.string().max(200).optional().meta({ description: 'next_cursor of the page before' }),
};

/** A query parameter whose values are lower-case words, taken in any case. */
export function anyCase<Schema extends z.ZodType>(schema: Schema) {
  return z.preprocess((sent) => (typeof sent === 'string' ? sent.toLowerCase() : sent), schema);
}

export interface Page<Row> {
  readonly rows: readonly Row[];
  /** Rows that match in all, counted up to `countedAtMost` + 1. */
  readonly total: number;
  /** Where the next page begins; undefined on the last page. */
  readonly nextPosition: string | undefined;
}

/** Where a page begins: behind the row that the page before ended with, else so many rows from the first. */
export interface PagePosition {
  readonly limit: number;
  readonly offset: number;
  readonly after: string | undefined;
}

/** How many rows match, counted up to `countedAtMost` + 1. */
export async function countMatching(knex: Knex, matching: Knex.QueryBuilder): Promise<number> {
  const counted = matching
    .clone()
    .select(knex.raw('1'))
    .limit(countedAtMost + 1)
    .as('counted');
  const [row] = await knex.count<{ count: number }[]>('*').from(counted);
  return row?.count ?? 0;
}

/** Cuts a query down to a page, in the order of a column that no two of its rows share. */
export function cutPage<Query extends Knex.QueryBuilder>(
  query: Query,
  column: string,
  direction: 'asc' | 'desc',
  { limit, offset, after }: PagePosition,
): Query {
  void query.orderBy(column, direction).limit(limit);
  if (after === undefined) void query.offset(offset);
  else void query.andWhere(column, direction === 'asc' ? '>' : '<', after);
  return query;
}

/** Opaque text for a position in a list. */
export function encodeCursor(position: string): string {
  return Buffer.from(`v1:${position}`).toString('base64url');
}

/**
 * The position in a cursor, undefined without one.
 * @throws Problem invalid_query for text that `encodeCursor` did not make, or whose position is of another kind.
 */
export function decodeCursor(cursor: string | undefined, kind: 'number' | 'uuid'): string | undefined {
  if (cursor === undefined) return undefined;
  const match = /^v1:([0-9a-f-]{1,36})$/.exec(Buffer.from(cursor, 'base64url').toString('latin1'));
  const position = match?.[1];
  if (position !== undefined && (kind === 'uuid' ? isUuid(position) : /^\d{1,16}$/.test(position))) return position;
  throw new Problem('invalid_query', 'cursor is not one that this service gave out for this list', {
    errors: [{ pointer: 'cursor', code: 'invalid_query', detail: 'not a cursor of this list' }],
  });
}

/** The body of a list answer: the rows under their plural name, their number, and how to go on. */
export function listBody<Row, Shown>(
  plural: string,
  page: Page<Row>,
  show: (row: Row) => Shown,
): Record<string, unknown> {
  const isLowerBound = page.total > countedAtMost;
  return {
    [plural]: page.rows.map(show),
    count: page.rows.length,
    total: isLowerBound ? countedAtMost : page.total,
    ...(isLowerBound ? { total_is_lower_bound: true } : {}),
    next_cursor: page.nextPosition === undefined ? null : encodeCursor(page.nextPosition),
  };
}

/** The schema of such an answer. */
export function listSchema(plural: string, row: z.ZodType): z.ZodType {
  return z.object({
    [plural]: z.array(row),
    count: z.number().int(),
    total: z.number().int(),
    total_is_lower_bound: z.literal(true).optional(),
    next_cursor: z.string().nullable(),
  });
}
