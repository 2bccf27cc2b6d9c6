import type { Knex } from '#platform/database.ts';
import type { IdentifierType } from './identifier-types.ts';
import type { ValueChain } from './value-chain.ts';

/** That a type is canonical in a value chain, or was. */
export interface CanonicalPairRow {
  canonical_identifier_id: string;
  value_chain: ValueChain;
  identifier_type: string;
  is_active: boolean;
  created_at: Date;
}

const pairColumns = ['canonical_identifier_id', 'value_chain', 'identifier_type', 'is_active', 'created_at'] as const;

/** Lets one transaction at a time change the types, so that what it read of them stays true. Readers do not wait. */
export async function lockIdentifierTypes(transaction: Knex): Promise<void> {
  await transaction.raw('lock table identifier_types in share row exclusive mode');
}

/** What an administrator decides of a type. */
export type TypeMeaning = Pick<IdentifierType, 'name' | 'aliases' | 'subject' | 'cardinality' | 'normaliser'>;

/** Writes a type, new or known, and puts it in force. */
export async function upsertIdentifierType(transaction: Knex, type: TypeMeaning): Promise<void> {
  const { name, aliases, subject, cardinality, normaliser } = type;
  await transaction('identifier_types')
    .insert({ name, aliases, subject, cardinality, normaliser, is_active: true })
    .onConflict('name')
    .merge(['aliases', 'subject', 'cardinality', 'normaliser', 'is_active']);
}

/** Makes a type canonical in a chain; the pair keeps its id and time if it was so before. */
export async function upsertCanonicalPair(
  transaction: Knex,
  pair: Pick<CanonicalPairRow, 'canonical_identifier_id' | 'value_chain' | 'identifier_type'>,
): Promise<CanonicalPairRow> {
  const rows = await transaction('canonical_identifiers')
    .insert({ ...pair, is_active: true })
    .onConflict(['identifier_type', 'value_chain'])
    .merge(['is_active'])
    .returning<CanonicalPairRow[]>([...pairColumns]);
  return rows[0]!;
}

/** Makes a type canonical in the chain of the pair, or contextual. */
export async function updateCanonicalPair(transaction: Knex, id: string, isActive: boolean): Promise<void> {
  await transaction('canonical_identifiers').where('canonical_identifier_id', id).update({ is_active: isActive });
}

/** The pair with this id. */
export async function findCanonicalPair(knex: Knex, id: string): Promise<CanonicalPairRow | undefined> {
  return knex('canonical_identifiers')
    .where('canonical_identifier_id', id)
    .first<CanonicalPairRow | undefined>([...pairColumns]);
}

/** All pairs of a chain, by type. */
export async function listCanonicalPairs(knex: Knex, valueChain: ValueChain): Promise<CanonicalPairRow[]> {
  return knex('canonical_identifiers')
    .where('value_chain', valueChain)
    .orderBy('identifier_type')
    .select<CanonicalPairRow[]>([...pairColumns]);
}

/** True when an item owns a claim of one of these types. */
export async function hasClaims(knex: Knex, claimTypes: readonly string[]): Promise<boolean> {
  const row = await knex('identifier_claims')
    .whereIn('identifier_type', [...claimTypes])
    .first<object | undefined>(knex.raw('1'));
  return row !== undefined;
}
