import type { TypeRegistry, VersionContent } from '#domains/items/index.ts';
import type { Queryable } from '#platform/database.ts';
import type { KeyEncryption } from '#platform/key-encryption.ts';
import type { Logger } from '#platform/logger.ts';
import { makeId } from '#platform/ids.ts';
import { addressOf } from './content-address.ts';
import { publicContent, wholeContent } from './public-content.ts';
import type { AdapterName, ScopeSettings } from './scope-settings.ts';
import { sealContent } from './sealed-content.ts';
import { findEnabledScopes } from './storage-settings.store.ts';
import { insertContents, type NewContent } from './contents.store.ts';

/** A version of an item of a workspace, and what it was. */
export interface StorableVersion {
  readonly workspaceId: string;
  readonly itemNumber: number;
  readonly version: number;
  readonly dfid: string;
  readonly content: VersionContent;
}

/** Where the contents of a version can be had. */
export interface ContentAddresses {
  readonly cid: string;
  /** Of all that is known of it, encrypted. */
  readonly encrypted_cid?: string;
}

/** Makes contents for the versions of one transaction. */
export interface ContentMaker {
  /** Undefined for a version of which nothing leaves. */
  make(version: StorableVersion): Promise<ContentAddresses | undefined>;
  /** Keeps what was made since the last time, and queues it for its adapters. */
  write(queryable: Queryable): Promise<void>;
}

interface ContentOptions {
  loadTypes(): Promise<TypeRegistry>;
  /** Without keys nothing is encrypted, and so nothing private leaves. */
  keys: KeyEncryption | undefined;
  /** Null: the installation stores nothing outside. */
  adapter: AdapterName | null;
  logger: Logger;
}

export type StartContents = (queryable: Queryable) => Promise<ContentMaker>;

/** For whoever takes versions in: what of them leaves is decided by the settings of the moment, in the same transaction. */
export function makeContentStart({ loadTypes, keys, adapter, logger }: ContentOptions): StartContents {
  let isKeyMissed = false;
  const missKey = () => {
    if (!isKeyMissed)
      logger.error('workspaces want encrypted contents, and this worker has no ENCRYPTION_KEY: none are made');
    isKeyMissed = true;
  };
  return async (queryable) => {
    const scopes = await findEnabledScopes(queryable);
    const types = scopes.size === 0 ? undefined : await loadTypes();
    const isPartyType = (name: string) => types?.find(name)?.subject === 'party';
    let made: NewContent[] = [];

    const keep = async (version: StorableVersion, settings: ScopeSettings, kind: NewContent['kind'], bytes: Buffer) => {
      const sealed = kind === 'encrypted' ? await sealContent(bytes) : undefined;
      const stored = sealed?.bytes ?? bytes;
      const cid = (await addressOf(stored)).toString();
      const { workspaceId, itemNumber, version: number } = version;
      made.push({
        contentId: makeId(),
        workspaceId,
        itemNumber,
        version: number,
        kind,
        cid,
        bytes: stored,
        sealedKey: sealed ? keys!.seal(sealed.key) : null,
        adapter: settings.adapter ?? adapter,
      });
      return cid;
    };

    return {
      async make(version) {
        const settings = scopes.get(version.workspaceId);
        if (!settings) return undefined;
        const open = publicContent(version, version.content, settings, isPartyType);
        const cid = await keep(version, settings, 'public', open);
        if (!settings.storesEncrypted) return { cid };
        if (!keys) {
          missKey();
          return { cid };
        }
        return {
          cid,
          encrypted_cid: await keep(version, settings, 'encrypted', wholeContent(version, version.content)),
        };
      },
      async write(queryableNow) {
        const contents = made;
        made = [];
        await insertContents(queryableNow, contents);
      },
    };
  };
}
