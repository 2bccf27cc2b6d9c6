import type { Database, Knex } from '#platform/database.ts';
import { Problem } from '#platform/errors.ts';
import { isUuid, makeId } from '#platform/ids.ts';
import {
  findCanonicalPair,
  hasClaims,
  listCanonicalPairs,
  lockIdentifierTypes,
  updateCanonicalPair,
  upsertCanonicalPair,
  upsertIdentifierType,
  type CanonicalPairRow,
  type TypeMeaning,
} from './canonical-identifiers.store.ts';
import { listFingerprintRules } from './fingerprint-rules.store.ts';
import { claimTypesOf } from './identifier-normalisers.ts';
import { listIdentifierTypes, type ListedIdentifierType } from './identifier-types.store.ts';
import { fingerprintClaimType } from './judge-record.ts';
import type { ValueChain } from './value-chain.ts';

/** What may be said of a type beside its name; what is left out stays as it is, or as new types are. */
export type MeaningChanges = { [Member in Exclude<keyof TypeMeaning, 'name'>]?: TypeMeaning[Member] | undefined };

/** A new type's meaning when nothing is said of it: a number or name that one item has one of. */
const usualMeaning = { aliases: [], subject: 'item', cardinality: 'one', normaliser: 'free_text' } as const;

export type CanonicalIdentifiersService = ReturnType<typeof makeCanonicalIdentifiersService>;

/** Decides which types of identifiers there are and in which value chains they are canonical, for the whole installation. */
export function makeCanonicalIdentifiersService({ knex }: Database) {
  return {
    /** Every type, by name. */
    async listTypes() {
      return (await listIdentifierTypes(knex)).map(showType);
    },

    /** The types that are canonical in a chain, and those that were, by name. */
    async list(valueChain: ValueChain) {
      const types = await listIdentifierTypes(knex);
      return (await listCanonicalPairs(knex, valueChain)).map((pair) => showPair(pair, typeNamed(types, pair)));
    },

    /**
     * Makes a type canonical in a chain. The type is made too if none has this name or alias; one that exists takes over
     * what is said of it.
     * @throws Problem identifier_type_name_taken, identifier_type_in_use.
     */
    async enable(sentName: string, valueChain: ValueChain, changes: MeaningChanges) {
      return knex.transaction(async (transaction) => {
        const types = await lockAndList(transaction);
        const known = types.find((type) => namesOf(type).includes(sentName));
        const type = await writeType(transaction, types, known ?? { name: sentName, ...usualMeaning }, changes);
        const pair = await upsertCanonicalPair(transaction, {
          canonical_identifier_id: makeId(),
          value_chain: valueChain,
          identifier_type: type.name,
        });
        return showPair(pair, type);
      });
    },

    /**
     * Makes a type canonical in the chain of the pair, or contextual there, and changes what is said of the type.
     * @throws Problem not_found, identifier_type_name_taken, identifier_type_in_use.
     */
    async update(id: string, isActive: boolean | undefined, changes: MeaningChanges) {
      return knex.transaction(async (transaction) => {
        const types = await lockAndList(transaction);
        const pair = isUuid(id) ? await findCanonicalPair(transaction, id) : undefined;
        if (!pair) throw new Problem('not_found', 'there is no canonical identifier with this id');
        const type = await writeType(transaction, types, typeNamed(types, pair), changes);
        if (isActive !== undefined) await updateCanonicalPair(transaction, id, isActive);
        return showPair({ ...pair, is_active: isActive ?? pair.is_active }, type);
      });
    },
  };
}

async function lockAndList(transaction: Knex): Promise<ListedIdentifierType[]> {
  await lockIdentifierTypes(transaction);
  return listIdentifierTypes(transaction);
}

async function writeType(
  transaction: Knex,
  types: readonly TypeMeaning[],
  before: TypeMeaning,
  changes: MeaningChanges,
): Promise<TypeMeaning> {
  const type: TypeMeaning = {
    name: before.name,
    aliases: [...new Set(changes.aliases ?? before.aliases)].filter((alias) => alias !== before.name),
    subject: changes.subject ?? before.subject,
    cardinality: changes.cardinality ?? before.cardinality,
    normaliser: changes.normaliser ?? before.normaliser,
  };
  refuseTakenNames(types, type);
  const changed = (['subject', 'cardinality', 'normaliser'] as const).filter(
    (member) => type[member] !== before[member],
  );
  if (changed.length > 0 && (await isInUse(transaction, before))) {
    const detail = 'items were told apart by this type as it is, so that its meaning cannot change any more';
    const errors = changed.map((member) => ({ pointer: `/${member}`, code: 'identifier_type_in_use', detail }));
    throw new Problem('identifier_type_in_use', detail, { errors });
  }
  await upsertIdentifierType(transaction, type);
  return type;
}

/** True when items are told apart by values of the type, alone or as part of a contextual set. */
async function isInUse(transaction: Knex, type: TypeMeaning): Promise<boolean> {
  const rules = await listFingerprintRules(transaction);
  const namesOfRules = rules
    .filter(({ identifierTypes }) => identifierTypes.includes(type.name))
    .map(({ name }) => name);
  return hasClaims(transaction, [...claimTypesOf(type), ...new Set(namesOfRules.map(fingerprintClaimType))]);
}

function refuseTakenNames(types: readonly TypeMeaning[], { name, aliases }: TypeMeaning): void {
  const taken = new Map(
    types
      .filter((type) => type.name !== name)
      .flatMap((type) => namesOf(type).map((each) => [each, type.name] as const)),
  );
  const errors = aliases.flatMap((alias) => {
    const owner = taken.get(alias);
    const detail = `${alias} means the type ${owner}`;
    return owner === undefined ? [] : [{ pointer: '/aliases', code: 'identifier_type_name_taken', detail }];
  });
  if (errors.length > 0)
    throw new Problem('identifier_type_name_taken', errors.map(({ detail }) => detail).join('; '), { errors });
}

function namesOf({ name, aliases }: TypeMeaning): readonly string[] {
  return [name, ...aliases];
}

function typeNamed<Type extends TypeMeaning>(types: readonly Type[], pair: CanonicalPairRow): Type {
  return types.find(({ name }) => name === pair.identifier_type)!;
}

function showMeaning({ name, subject, cardinality, aliases, normaliser }: TypeMeaning) {
  return { identifier_type: name, subject, cardinality, aliases, normaliser };
}

function showPair(pair: CanonicalPairRow, type: TypeMeaning) {
  return {
    id: pair.canonical_identifier_id,
    value_chain: pair.value_chain,
    is_active: pair.is_active,
    created_at: pair.created_at.toISOString(),
    scope: 'global',
    ...showMeaning(type),
  };
}

function showType({ scope, canonicalChains, isActive, ...type }: ListedIdentifierType) {
  return { ...showMeaning(type), scope, value_chains: canonicalChains, is_active: isActive };
}
