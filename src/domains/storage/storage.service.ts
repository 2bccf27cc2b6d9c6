import type { Database } from '#platform/database.ts';
import { invalidRequestAt } from '#platform/errors.ts';
import { decodeCursor, encodeCursor } from '#platform/page.ts';
import type { ItemsService, TypeRegistry } from '#domains/items/index.ts';
import type { z } from 'zod';
import {
  adapterNames,
  defaultSettings,
  type AdapterName,
  type Scope,
  type ScopeSettings,
  type scopeSettingsBody,
} from './scope-settings.ts';
import { fileName } from './storage-work.ts';
import { findScopeSettings, writeScopeSettings } from './storage-settings.store.ts';
import {
  choosePrimary,
  countBatches,
  countStored,
  listHistory,
  queueForAdapter,
  type HistoryRow,
} from './storage-history.store.ts';

interface StorageServiceOptions {
  database: Database;
  items: ItemsService;
  loadTypes(): Promise<TypeRegistry>;
  /** Adapters that this installation has; the one of scopes that name none, null for none. */
  adapters: readonly AdapterName[];
  defaultAdapter: AdapterName | null;
  canEncrypt: boolean;
  /** Gateways by adapter, such as https://example.mypinata.cloud; what is stored is below /ipfs/ there. */
  gateways: Readonly<Partial<Record<AdapterName, string>>>;
  /** Transactions that told a public ledger of contents, by the id of the content. */
  findTransactions(contentIds: readonly string[]): Promise<ReadonlyMap<string, readonly ContentTransaction[]>>;
}

/** A transaction that told a public ledger of a content, or is to. */
export interface ContentTransaction {
  readonly function: string;
  readonly contract: string;
  readonly state: 'open' | 'confirmed' | 'failed';
  readonly transaction_hash: string | null;
  readonly ledger: number | null;
}

export type StorageService = ReturnType<typeof makeStorageService>;

/** What a workspace stores, and where it is. */
export function makeStorageService(options: StorageServiceOptions) {
  const { database, items, adapters, defaultAdapter, gateways } = options;
  const { pool } = database;

  const showSettings = (settings: ScopeSettings, updatedAt: Date | null) => ({
    enabled: settings.isEnabled,
    adapter: settings.adapter,
    public_fields: settings.publicFields,
    public_identifier_types: settings.publicIdentifierTypes,
    encrypted_content: settings.storesEncrypted,
    effective_adapter: effectiveAdapter(settings) ?? 'none',
    updated_at: updatedAt?.toISOString() ?? null,
  });

  const effectiveAdapter = (settings: ScopeSettings): AdapterName | null => settings.adapter ?? defaultAdapter;

  /** @throws Problem invalid_request for an adapter that is not set up here. */
  const requireAdapter = (name: string, pointer: string): AdapterName => {
    const adapter = adapters.find((each) => each === name.toLowerCase());
    if (adapter) return adapter;
    const known = adapters.length === 0 ? 'none is set up here' : `set up here: ${adapters.join(', ')}`;
    throw invalidRequestAt(pointer, `an adapter is one of ${adapterNames.join(', ')}; ${known}`);
  };

  /** Types of identifiers by their names in the table. @throws Problem for those that may not be public. */
  const readPublicTypes = async (names: readonly string[]): Promise<string[]> => {
    const types = await options.loadTypes();
    return names.map((name, at) => {
      const pointer = `/public_identifier_types/${at}`;
      const type = types.find(name);
      if (!type) throw invalidRequestAt(pointer, 'there is no such type of identifiers');
      if (type.subject === 'party')
        throw invalidRequestAt(pointer, 'numbers of persons and companies are never public');
      return type.name;
    });
  };

  const showHistory = (row: HistoryRow, dfid: string, transactions: readonly ContentTransaction[]) => {
    const path = row.root === null ? null : `${row.root}/${fileName(row.cid)}`;
    const gateway = gateways[row.adapter];
    return {
      id: `${row.content_id}-${row.adapter}`,
      dfid,
      version: row.version,
      content: row.kind,
      cid: row.cid,
      size_bytes: row.size_bytes,
      adapter: row.adapter,
      state: row.state,
      root: row.root,
      path,
      gateway_url: gateway === undefined || row.state !== 'stored' ? null : `${gateway}/ipfs/${row.cid}`,
      is_primary: row.is_primary,
      transactions: transactions.map((each) => ({
        function: each.function,
        contract: each.contract,
        state: each.state,
        transaction_hash: each.transaction_hash,
        ledger: each.ledger,
      })),
      attempts: row.attempts ?? 0,
      next_attempt_at: row.next_attempt_at?.toISOString() ?? null,
      error: row.fault,
      queued_at: row.queued_at.toISOString(),
      stored_at: row.stored_at?.toISOString() ?? null,
    };
  };

  const scopeOf = (workspaceId: string): Scope => ({ kind: 'workspace', id: workspaceId });

  return {
    async readSettings(workspaceId: string) {
      const found = await findScopeSettings(pool, scopeOf(workspaceId));
      return showSettings(found ?? defaultSettings, found?.updatedAt ?? null);
    },

    /**
     * Sets what of the items of a workspace is stored from now on; what is stored already stays as it is.
     * @throws Problem invalid_request
     */
    async writeSettings(workspaceId: string, body: z.output<typeof scopeSettingsBody>) {
      if (body.encrypted_content && !options.canEncrypt)
        throw invalidRequestAt(
          '/encrypted_content',
          'this installation has no ENCRYPTION_KEY, so nothing can be encrypted',
        );
      const settings: ScopeSettings = {
        isEnabled: body.enabled,
        adapter: body.adapter == null ? null : requireAdapter(body.adapter, '/adapter'),
        publicFields: [...new Set(body.public_fields)],
        publicIdentifierTypes: [...new Set(await readPublicTypes(body.public_identifier_types))],
        storesEncrypted: body.encrypted_content,
      };
      await writeScopeSettings(pool, scopeOf(workspaceId), settings);
      return this.readSettings(workspaceId);
    },

    /** Where what was stored of an item is. */
    async history(workspaceId: string, idOrDfid: string, page: { limit: number; cursor?: string | undefined }) {
      const { dfid, itemNumbers } = await items.membersOf(workspaceId, idOrDfid);
      const before = decodeCursor(page.cursor, 'uuid');
      const rows = await listHistory(pool, workspaceId, itemNumbers, { before, limit: page.limit });
      const dfids = await items.dfidsOf(itemNumbers);
      const contents = new Set(rows.map((row) => row.content_id));
      const transactions = await options.findTransactions([...contents]);
      const settings = (await findScopeSettings(pool, scopeOf(workspaceId))) ?? defaultSettings;
      return {
        dfid,
        storage_history: rows.map((row) =>
          showHistory(row, dfids.get(row.item_number)!, transactions.get(row.content_id) ?? []),
        ),
        count: rows.length,
        next_cursor: contents.size === page.limit ? encodeCursor(rows.at(-1)!.content_id) : null,
        state: inWords(settings, effectiveAdapter(settings), adapters),
      };
    },

    /** Brings what was stored of an item to another adapter. @throws Problem invalid_request */
    async migrate(workspaceId: string, idOrDfid: string, target: string) {
      const adapter = requireAdapter(target, '/target_adapter_type');
      const { dfid, itemNumbers } = await items.membersOf(workspaceId, idOrDfid);
      const queued = await queueForAdapter(pool, workspaceId, itemNumbers, adapter);
      return { dfid, target_adapter_type: adapter, queued };
    },

    /** Says where an item is to be looked for first. @throws Problem invalid_request when nothing of it is stored there. */
    async choosePrimary(workspaceId: string, idOrDfid: string, location: string) {
      const adapter = requireAdapter(location, '/storage_location');
      const { dfid, itemNumbers } = await items.membersOf(workspaceId, idOrDfid);
      if (!(await choosePrimary(pool, workspaceId, itemNumbers, adapter)))
        throw invalidRequestAt('/storage_location', 'nothing of the item is stored there');
      return { dfid, storage_location: adapter };
    },

    statistics: async (workspaceId: string) => ({ adapters: await countStored(pool, workspaceId) }),

    /** Counts of the whole installation. */
    countBatches: () => countBatches(pool),
  };
}

/** What an adapter needs to be set up. */
const needed: Readonly<Record<AdapterName, string>> = {
  local: 'STORAGE_FOLDER',
  pinata: 'PINATA_JWT',
  kubo: 'KUBO_RPC_URL',
};

function inWords({ isEnabled }: ScopeSettings, adapter: AdapterName | null, available: readonly AdapterName[]): string {
  if (!isEnabled) return 'Nothing of the items of this workspace is stored outside of the database.';
  if (adapter === null)
    return 'This installation has no storage: contents have their addresses, and are kept for later.';
  if (!available.includes(adapter))
    return `Nothing is stored at the moment: the adapter ${adapter} needs ${needed[adapter]}, which is not set. Contents wait.`;
  return `New versions of items are stored with the adapter ${adapter}.`;
}
