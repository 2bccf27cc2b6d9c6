import { z } from 'zod';

/** Where contents can be stored. */
export const adapterNames = ['local', 'pinata', 'kubo'] as const;
export type AdapterName = (typeof adapterNames)[number];

/** What settings are of. Workspaces are the only scopes so far. */
export interface Scope {
  readonly kind: 'workspace';
  readonly id: string;
}

/** What of the items of a scope is stored where all can read. */
export interface ScopeSettings {
  /** False: nothing leaves the database. */
  readonly isEnabled: boolean;
  /** Null for the adapter of the installation. */
  readonly adapter: AdapterName | null;
  readonly publicFields: readonly string[];
  readonly publicIdentifierTypes: readonly string[];
  /** Whether all that is known of an item is stored besides, encrypted. */
  readonly storesEncrypted: boolean;
}

/** The settings of scopes that never said anything. */
export const defaultSettings: ScopeSettings = {
  isEnabled: false,
  adapter: null,
  publicFields: [],
  publicIdentifierTypes: [],
  storesEncrypted: false,
};

const names = z.array(z.string().min(1).max(256)).max(1000);

/** The body of PUT /api/storage/settings. */
export const scopeSettingsBody = z
  .strictObject({
    enabled: z.boolean().meta({ description: 'Whether contents of your items are stored where all can read them' }),
    adapter: z.enum(adapterNames).nullish().meta({ description: 'Null: that of the installation' }),
    public_fields: names.default([]).meta({ description: 'Fields of items that all may read; without any, none' }),
    public_identifier_types: names.default([]).meta({ description: 'Types of identifiers that all may read' }),
    encrypted_content: z
      .boolean()
      .default(false)
      .meta({ description: 'Whether all else is stored as well, encrypted with a key that stays here' }),
  })
  .meta({ id: 'StorageSettings' });

export const scopeSettingsSchema = z
  .object({
    enabled: z.boolean(),
    adapter: z.enum(adapterNames).nullable(),
    public_fields: z.array(z.string()),
    public_identifier_types: z.array(z.string()),
    encrypted_content: z.boolean(),
    effective_adapter: z.enum([...adapterNames, 'none']).meta({ description: 'The adapter that stores now' }),
    updated_at: z.iso.datetime().nullable(),
  })
  .meta({ id: 'StorageSettingsState' });
