import type { Queryable } from '#platform/database.ts';

/** Requests that may follow each other at once, as a part of those of a minute. */
const burstShare = 0.2;

/**
 * Takes one of the requests that a service allows, whichever process makes it (the generic cell rate algorithm of ATM Forum
 * Traffic Management 4.0, section 4.4.2).
 * @returns milliseconds to wait when there is none left; undefined when one was taken.
 */
export async function takeRequest(
  queryable: Queryable,
  service: string,
  requestsPerMinute: number,
): Promise<number | undefined> {
  const spacingMs = 60_000 / requestsPerMinute;
  const burstMs = spacingMs * Math.max(0, Math.floor(requestsPerMinute * burstShare) - 1);
  const { rows } = await queryable.query<{ wait_ms: number | null }>({
    name: 'take_service_request',
    text: `with asked as (
             select clock_timestamp() as now
           ), taken as (
             insert into storage_request_limits as known (service, paid_at)
             select $1, now + $2::float8 * interval '1 millisecond' from asked
             on conflict (service) do update
             set paid_at = greatest(known.paid_at, clock_timestamp()) + $2::float8 * interval '1 millisecond'
             where known.paid_at <= clock_timestamp() + $3::float8 * interval '1 millisecond'
             returning service
           )
           select case when not exists (select from taken) then (
             select extract(epoch from paid_at - now)::float8 * 1000 - $3::float8 from storage_request_limits cross join asked where service = $1
           ) end as wait_ms`,
    values: [service, spacingMs, burstMs],
  });
  const waitMs = rows[0]?.wait_ms ?? undefined;
  return waitMs === undefined ? undefined : Math.max(1, Math.ceil(waitMs));
}
