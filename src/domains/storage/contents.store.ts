import { byteaArray, int4Array, int8Array, textArray, uuidArray } from '#platform/binary-arrays.ts';
import type { Queryable } from '#platform/database.ts';
import type { SealedBytes } from '#platform/key-encryption.ts';
import type { AdapterName } from './scope-settings.ts';

/** Content of a version that leaves the database. */
export interface NewContent {
  readonly contentId: string;
  readonly workspaceId: string;
  readonly itemNumber: number;
  readonly version: number;
  readonly kind: 'public' | 'encrypted';
  readonly cid: string;
  readonly bytes: Buffer;
  readonly sealedKey: SealedBytes | null;
  /** Where it is to be stored; null for nowhere yet. */
  readonly adapter: AdapterName | null;
}

/** Keeps contents, and queues them for their adapters. */
export async function insertContents(queryable: Queryable, contents: readonly NewContent[]): Promise<void> {
  if (contents.length === 0) return;
  await queryable.query({
    name: 'insert_storage_contents',
    text: `with new as (
             select * from unnest($1::uuid[], $2::uuid[], $3::int8[], $4::int4[], $5::text[], $6::text[], $7::bytea[], $8::bytea[], $9::text[], $10::text[])
               as new (content_id, workspace_id, item_number, version, kind, cid, bytes, sealed_key, key_id, adapter)
           ), kept as (
             insert into storage_contents (content_id, workspace_id, item_number, version, kind, cid, size_bytes, bytes, sealed_key, key_id)
             select content_id, workspace_id, item_number, version, kind, cid, octet_length(bytes), bytes, sealed_key, key_id from new
           )
           insert into storage_history (content_id, adapter)
           select content_id, adapter from new where adapter is not null`,
    values: [
      uuidArray(contents.map(({ contentId }) => contentId)),
      uuidArray(contents.map(({ workspaceId }) => workspaceId)),
      int8Array(contents.map(({ itemNumber }) => itemNumber)),
      int4Array(contents.map(({ version }) => version)),
      textArray(contents.map(({ kind }) => kind)),
      textArray(contents.map(({ cid }) => cid)),
      byteaArray(contents.map(({ bytes }) => bytes)),
      byteaArray(contents.map(({ sealedKey }) => sealedKey?.bytes ?? null)),
      textArray(contents.map(({ sealedKey }) => sealedKey?.keyId ?? null)),
      textArray(contents.map(({ adapter }) => adapter)),
    ],
  });
}

/** Keys of contents that are sealed with another key than this one, at most `limit`. */
export async function findKeysSealedOtherwise(
  queryable: Queryable,
  keyId: string,
  limit: number,
): Promise<{ content_id: string; sealed_key: Buffer; key_id: string }[]> {
  const { rows } = await queryable.query<{ content_id: string; sealed_key: Buffer; key_id: string }>({
    name: 'find_keys_sealed_otherwise',
    // Two ranges of the index, since no index finds what is unequal.
    text: `(select content_id, sealed_key, key_id from storage_contents where key_id < $1 order by key_id limit $2::int4)
           union all
           (select content_id, sealed_key, key_id from storage_contents where key_id > $1 order by key_id limit $2::int4)
           limit $2::int4`,
    values: [keyId, limit],
  });
  return rows;
}

/** Keeps keys as they are sealed now. */
export async function writeSealedKeys(
  queryable: Queryable,
  keys: readonly { readonly contentId: string; readonly sealed: SealedBytes }[],
): Promise<void> {
  await queryable.query({
    name: 'write_sealed_keys',
    text: `update storage_contents set sealed_key = sealed.bytes, key_id = sealed.key_id
           from unnest($1::uuid[], $2::bytea[], $3::text[]) as sealed (content_id, bytes, key_id)
           where storage_contents.content_id = sealed.content_id and storage_contents.sealed_key is not null`,
    values: [
      uuidArray(keys.map(({ contentId }) => contentId)),
      byteaArray(keys.map(({ sealed }) => sealed.bytes)),
      textArray(keys.map(({ sealed }) => sealed.keyId)),
    ],
  });
}

/** The bytes of a content, whoever it belongs to: what is stored is there for all. */
export async function findContentBytes(queryable: Queryable, cid: string): Promise<Buffer | undefined> {
  const { rows } = await queryable.query<{ bytes: Buffer }>({
    name: 'find_content_bytes',
    text: `select bytes from storage_contents as contents
           where cid = $1 and bytes is not null and (
             exists (select from storage_history where storage_history.content_id = contents.content_id and state <> 'removed')
             or kind = 'public' and exists (
               select from storage_settings where scope_kind = 'workspace' and scope_id = workspace_id and is_enabled))
           limit 1`,
    values: [cid],
  });
  return rows[0]?.bytes;
}

/** What a workspace lets everybody read of an item. */
export interface PublicContentRow {
  workspace_id: string;
  item_number: number;
  version: number;
  cid: string;
  bytes: Buffer;
}

/** The newest public content of items of each workspace that stores any, at most `limit`. */
export async function findPublicContents(
  queryable: Queryable,
  itemNumbers: readonly number[],
  limit: number,
): Promise<PublicContentRow[]> {
  const { rows } = await queryable.query<PublicContentRow>({
    name: 'find_public_contents',
    text: `with newest as (
             select distinct on (workspace_id) content_id
             from storage_contents
             join storage_settings on scope_kind = 'workspace' and scope_id = workspace_id and is_enabled
             where item_number = any($1::int8[]) and kind = 'public' and bytes is not null
             order by workspace_id, content_id desc limit $2::int4
           )
           select workspace_id, item_number, version, cid, bytes from newest join storage_contents using (content_id)
           order by workspace_id`,
    values: [int8Array(itemNumbers), limit],
  });
  return rows;
}
