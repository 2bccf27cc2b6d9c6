import type { Database } from '#platform/database.ts';
import { Problem, type ProblemLocation } from '#platform/errors.ts';
import {
  insertFingerprintRule,
  listFingerprintRules,
  lockFingerprintRules,
  type ListedFingerprintRule,
} from './fingerprint-rules.store.ts';
import { readIdentifierTypes } from './identifier-types.store.ts';
import type { FingerprintRule } from './identifier-types.ts';
import { makeTypeRegistry, type TypeRegistry } from './type-registry.ts';

export type FingerprintRulesService = ReturnType<typeof makeFingerprintRulesService>;

/** Decides which sets of contextual identifiers identify an item, for the whole installation. */
export function makeFingerprintRulesService({ knex }: Database) {
  return {
    /** All versions of all rules, by name, the newest first. */
    async list() {
      return (await listFingerprintRules(knex)).map(showRule);
    },

    /**
     * Puts a rule in force. One that differs from the version in force becomes the next version, which never matches what
     * the one before made.
     * @throws Problem invalid_request for types that do not make a contextual set.
     */
    async put(sent: Omit<FingerprintRule, 'version'>) {
      return knex.transaction(async (transaction) => {
        await lockFingerprintRules(transaction);
        const registry = makeTypeRegistry(await readIdentifierTypes(transaction), []);
        const identifierTypes = readContextualTypes(sent, registry);
        const versions = (await listFingerprintRules(transaction)).filter(({ name }) => name === sent.name);
        const rule = { ...sent, identifierTypes, version: (versions[0]?.version ?? 0) + 1 };
        const current = versions.find(({ isActive }) => isActive);
        if (current && contentOf(current) === contentOf(rule)) return { isNew: false, rule: showRule(current) };
        await insertFingerprintRule(transaction, rule);
        return { isNew: true, rule: showRule({ ...rule, isActive: true }) };
      });
    },
  };
}

/** The names of the types, aliases resolved. Types that nobody made are contextual. */
function readContextualTypes(
  { identifierTypes, valueChains }: Omit<FingerprintRule, 'version'>,
  registry: TypeRegistry,
): string[] {
  const types = identifierTypes.map((sent) => registry.find(sent));
  const errors = types.flatMap((type, index): ProblemLocation[] => {
    if (!type) return [];
    const canonicalIn = valueChains.filter((chain) => type.canonicalChains.includes(chain));
    if (type.subject === 'item' && canonicalIn.length === 0) return [];
    const reason = type.subject === 'item' ? `is canonical in ${canonicalIn.join(', ')}` : 'names no item';
    return [{ pointer: `/identifier_types/${index}`, code: 'invalid_request', detail: `${type.name} ${reason}` }];
  });
  if (errors.length > 0)
    throw new Problem('invalid_request', errors.map(({ detail }) => detail).join('; '), { errors });
  return [...new Set(types.map((type, index) => type?.name ?? identifierTypes[index]!))];
}

function contentOf({ valueChains, identifierTypes, period }: Omit<FingerprintRule, 'name' | 'version'>): string {
  return JSON.stringify([valueChains.toSorted(), identifierTypes, period]);
}

function showRule({ name, version, valueChains, identifierTypes, period, isActive }: ListedFingerprintRule) {
  return {
    name,
    version,
    value_chains: valueChains,
    identifier_types: identifierTypes,
    period,
    is_active: isActive,
  };
}
