import type { Database } from '#platform/database.ts';
import { foldName, type FingerprintRule, type IdentifierType } from './identifier-types.ts';

/** The types and rules in force, looked up as records name them. */
export interface TypeRegistry {
  /** The type with this name or alias, whatever its case and accents. */
  find(nameAsSent: string): IdentifierType | undefined;
  readonly fingerprintRules: readonly FingerprintRule[];
  /** Claim types of which an item has at most one value at a time. */
  readonly singleClaimTypes: ReadonlySet<string>;
}

/** How long a process goes on with types that were changed elsewhere, at most. */
const reloadAfterMs = 30_000;
/** The claim type that both a SISBOV number and a chip become when they begin with Brazil's country code 076. */
const officialTransponder = 'official_transponder';
const rememberedNamesMax = 5000;

export function makeTypeRegistry(
  types: readonly IdentifierType[],
  fingerprintRules: readonly FingerprintRule[],
): TypeRegistry {
  const byFoldedName = new Map<string, IdentifierType>();
  for (const type of types) {
    for (const name of [type.name, ...type.aliases]) byFoldedName.set(foldName(name), type);
  }
  // Senders repeat the same few spellings, and folding one costs more than looking it up.
  const bySentName = new Map<string, IdentifierType | undefined>();
  const isSingle = (type: IdentifierType) => type.isCanonical && type.subject === 'item' && type.cardinality === 'one';
  return {
    find(nameAsSent) {
      if (bySentName.has(nameAsSent)) return bySentName.get(nameAsSent);
      const type = byFoldedName.get(foldName(nameAsSent));
      if (bySentName.size < rememberedNamesMax && nameAsSent.length < 100) bySentName.set(nameAsSent, type);
      return type;
    },
    fingerprintRules,
    singleClaimTypes: new Set([...types.filter(isSingle).map(({ name }) => name), officialTransponder]),
  };
}

interface TypeRow {
  name: string;
  aliases: string[];
  subject: IdentifierType['subject'];
  is_canonical: boolean;
  cardinality: IdentifierType['cardinality'];
  value_chains: IdentifierType['valueChains'];
  normaliser: IdentifierType['normaliser'];
}

interface RuleRow {
  name: string;
  version: number;
  value_chains: FingerprintRule['valueChains'];
  identifier_types: string[];
  period: FingerprintRule['period'];
}

async function readTypeRegistry({ knex }: Database): Promise<TypeRegistry> {
  const types = await knex('identifier_types')
    .where({ is_active: true })
    .select<TypeRow[]>('name', 'aliases', 'subject', 'is_canonical', 'cardinality', 'value_chains', 'normaliser');
  const rules = await knex('fingerprint_rules')
    .where({ is_active: true })
    .orderBy('name')
    .select<RuleRow[]>('name', 'version', 'value_chains', 'identifier_types', 'period');
  return makeTypeRegistry(
    types.map((row) => ({ ...row, isCanonical: row.is_canonical, valueChains: row.value_chains })),
    rules.map((row) => ({ ...row, valueChains: row.value_chains, identifierTypes: row.identifier_types })),
  );
}

/** Loads the registry when it is first needed, and again after a while. */
export function makeTypeRegistryLoader(database: Database, nowMs: () => number): () => Promise<TypeRegistry> {
  let loaded: Promise<TypeRegistry> | undefined;
  let loadedAtMs = 0;
  return () => {
    if (!loaded || nowMs() - loadedAtMs > reloadAfterMs) {
      loadedAtMs = nowMs();
      const loading = readTypeRegistry(database);
      loading.catch(() => (loaded = undefined));
      loaded = loading;
    }
    return loaded;
  };
}
