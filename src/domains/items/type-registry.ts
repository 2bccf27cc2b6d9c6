import type { Database } from '#platform/database.ts';
import { foldName } from './fold-name.ts';
import type { FingerprintRule, IdentifierType } from './identifier-types.ts';
import { readFingerprintRules } from './fingerprint-rules.store.ts';
import { readIdentifierTypes } from './identifier-types.store.ts';

/** The types and rules in force, looked up as records name them. */
export interface TypeRegistry {
  /** The type with this name or alias, whatever its case and accents. */
  find(nameAsSent: string): IdentifierType | undefined;
  readonly fingerprintRules: readonly FingerprintRule[];
  /** Claim types of which an item has at most one value at a time. */
  readonly singleClaimTypes: ReadonlySet<string>;
}

/** How long a process goes on with types that were changed elsewhere, at most. */
const reloadAfterMs = 2000;
const rememberedNamesMax = 5000;
/** Longer than the name or alias of any type may be. */
const nameMaxLength = 256;

/**
 * Indexes types by all their names.
 * @throws Error if two types share one: which of them a record meant would depend on the order of the table.
 */
export function makeTypeRegistry(
  types: readonly IdentifierType[],
  fingerprintRules: readonly FingerprintRule[],
): TypeRegistry {
  const byFoldedName = new Map<string, IdentifierType>();
  for (const type of types) {
    for (const name of new Set([type.name, ...type.aliases].map(foldName))) {
      const other = byFoldedName.get(name);
      if (other) throw new Error(`The identifier types ${other.name} and ${type.name} share the name ${name}.`);
      byFoldedName.set(name, type);
    }
  }
  // Senders repeat the same few spellings, and folding one costs more than looking it up.
  const bySentName = new Map<string, IdentifierType | undefined>();
  const isSingle = ({ scope, subject, cardinality }: IdentifierType) =>
    scope === 'global' && subject === 'item' && cardinality === 'one';
  return {
    find(nameAsSent) {
      // Folding a long run of accents takes quadratic time, and no type has such a name.
      if (nameAsSent.length > nameMaxLength) return undefined;
      if (bySentName.has(nameAsSent)) return bySentName.get(nameAsSent);
      const type = byFoldedName.get(foldName(nameAsSent));
      if (bySentName.size < rememberedNamesMax && nameAsSent.length < 100) bySentName.set(nameAsSent, type);
      return type;
    },
    fingerprintRules,
    singleClaimTypes: new Set(types.filter(isSingle).map(({ name }) => name)),
  };
}

/**
 * Loads the registry when it is first needed, and again after a while: what changed is known to every process two seconds
 * later.
 */
export function makeTypeRegistryLoader({ knex }: Database, nowMs: () => number): () => Promise<TypeRegistry> {
  let loaded: Promise<TypeRegistry> | undefined;
  let loadedAtMs = 0;
  let known: { registry: TypeRegistry; rows: string } | undefined;

  const load = async (): Promise<TypeRegistry> => {
    const types = await readIdentifierTypes(knex);
    const fingerprintRules = await readFingerprintRules(knex);
    const rows = JSON.stringify([types, fingerprintRules]);
    // Nearly always nothing changed, and then what the registry remembers stays of use.
    if (known?.rows !== rows) known = { registry: makeTypeRegistry(types, fingerprintRules), rows };
    return known.registry;
  };

  return () => {
    if (!loaded || nowMs() - loadedAtMs > reloadAfterMs) {
      loadedAtMs = nowMs();
      const loading = load();
      loading.catch(() => {
        if (loaded === loading) loaded = undefined;
      });
      loaded = loading;
    }
    return loaded;
  };
}
