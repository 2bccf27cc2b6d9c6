import type { Queryable } from '#platform/database.ts';
import type { AdapterName, Scope, ScopeSettings } from './scope-settings.ts';

interface SettingsRow {
  scope_id: string;
  is_enabled: boolean;
  adapter: AdapterName | null;
  public_fields: string[];
  public_identifier_types: string[];
  stores_encrypted: boolean;
  updated_at: Date;
}

const columns = 'scope_id, is_enabled, adapter, public_fields, public_identifier_types, stores_encrypted, updated_at';

/** The settings of all scopes that store something, by the ids of their workspaces. */
export async function findEnabledScopes(queryable: Queryable): Promise<Map<string, ScopeSettings>> {
  const { rows } = await queryable.query<SettingsRow>({
    name: 'find_enabled_scopes',
    text: `select ${columns} from storage_settings where is_enabled and scope_kind = 'workspace'`,
  });
  return new Map(rows.map((row) => [row.scope_id, settingsOf(row)]));
}

/** The settings of a scope; undefined when it never said anything. */
export async function findScopeSettings(
  queryable: Queryable,
  scope: Scope,
): Promise<(ScopeSettings & { updatedAt: Date }) | undefined> {
  const { rows } = await queryable.query<SettingsRow>({
    name: 'find_scope_settings',
    text: `select ${columns} from storage_settings where scope_kind = $1 and scope_id = $2`,
    values: [scope.kind, scope.id],
  });
  return rows[0] && { ...settingsOf(rows[0]), updatedAt: rows[0].updated_at };
}

function settingsOf(row: SettingsRow): ScopeSettings {
  return {
    isEnabled: row.is_enabled,
    adapter: row.adapter,
    publicFields: row.public_fields,
    publicIdentifierTypes: row.public_identifier_types,
    storesEncrypted: row.stores_encrypted,
  };
}

const firstId = '00000000-0000-0000-0000-000000000000';

/** Sets what a scope stores from now on. Under another adapter, what is stored is brought there in the background. */
export async function writeScopeSettings(queryable: Queryable, scope: Scope, settings: ScopeSettings): Promise<void> {
  await queryable.query({
    name: 'write_scope_settings',
    text: `insert into storage_settings as known (scope_kind, scope_id, is_enabled, adapter, public_fields, public_identifier_types, stores_encrypted)
           values ($1, $2, $3, $4, $5, $6, $7)
           on conflict (scope_kind, scope_id) do update
           set is_enabled = excluded.is_enabled, adapter = excluded.adapter, public_fields = excluded.public_fields,
               public_identifier_types = excluded.public_identifier_types, stores_encrypted = excluded.stores_encrypted,
               updated_at = now(),
               moved_until = case when known.adapter is distinct from excluded.adapter then '${firstId}' else known.moved_until end`,
    values: [
      scope.kind,
      scope.id,
      settings.isEnabled,
      settings.adapter,
      settings.publicFields,
      settings.publicIdentifierTypes,
      settings.storesEncrypted,
    ],
  });
}

/** Notes the adapter of the installation. When it is another one, scopes without one of their own move to it. */
export async function writeDefaultAdapter(queryable: Queryable, adapter: AdapterName | null): Promise<void> {
  await queryable.query({
    name: 'write_default_adapter',
    text: `with changed as (
             update storage_state set adapter = $1 where adapter is distinct from $1 returning 1
           )
           update storage_settings set moved_until = '${firstId}'
           where adapter is null and exists (select from changed)`,
    values: [adapter],
  });
}

/**
 * Queues the next contents of a scope that moves for the adapter that is in force for it, as far as they are not there yet.
 * @param fallback the adapter of the installation; null when it has none.
 * @returns how many contents were looked at; undefined when no scope moves.
 */
export async function moveNextContents(
  queryable: Queryable,
  fallback: AdapterName | null,
  limit: number,
): Promise<number | undefined> {
  const { rows } = await queryable.query<{ seen: number }>({
    name: 'move_next_contents',
    text: `with moving as (
             select scope_id, moved_until, coalesce(adapter, $1::text) as adapter, is_enabled from storage_settings
             where moved_until is not null order by scope_id limit 1 for update skip locked
           ), page as (
             select content_id, adapter, bytes is null as is_erased from moving
             cross join lateral (
               select content_id, bytes from storage_contents
               where workspace_id = scope_id and content_id > moved_until order by content_id limit $2::int4
             ) as next
             where moving.adapter is not null and moving.is_enabled
           ), queued as (
             insert into storage_history (content_id, adapter)
             select content_id, adapter from page where not is_erased
             on conflict (content_id, adapter) do nothing
           )
           update storage_settings
           set moved_until = case when (select count(*) from page) = $2::int4
                                  then (select content_id from page order by content_id desc limit 1) end
           from moving where storage_settings.scope_kind = 'workspace' and storage_settings.scope_id = moving.scope_id
           returning (select count(*) from page) as seen`,
    values: [fallback, limit],
  });
  return rows[0]?.seen;
}
