import type { ValueChain } from './value-chain.ts';

/**
 * What an identifier of a type names. Only `item` can identify an item: a `class` (a GTIN without serial) is shared by
 * all items of a kind, a `document` (a transit permit) by all that it lists.
 */
export type IdentifierSubject = 'item' | 'party' | 'place' | 'class' | 'document';

/** The rule by which values of a type are checked and brought to one form; see `normaliseIdentifier`. */
export type NormaliserName =
  | 'sisbov'
  | 'transponder'
  | 'cpf'
  | 'cnpj'
  | 'ie'
  | 'car'
  | 'nirf'
  | 'gta'
  | 'gtin'
  | 'sgtin'
  | 'free_text';

/** One row of the type table, which alone decides what an identifier means, whatever the client says about it. */
export interface IdentifierType {
  /** In the form of `foldName`. */
  name: string;
  /** Other names under which the type is sent. */
  aliases: readonly string[];
  subject: IdentifierSubject;
  /** True for values of an official register or a world-wide scheme, which mean the same without the sender's context. */
  isCanonical: boolean;
  /** How many values of the type one thing can have at one time. */
  cardinality: 'one' | 'many';
  /** The chains in which the type is in use. Canonical types list all: a chain never splits one canonical identifier. */
  valueChains: readonly ValueChain[];
  normaliser: NormaliserName;
}

/**
 * A set of contextual types whose values together identify an item inside one scope and period. Name, version and period
 * become part of the fingerprint, so that a changed rule never matches what an older one made.
 */
export interface FingerprintRule {
  name: string;
  version: number;
  valueChains: readonly ValueChain[];
  identifierTypes: readonly string[];
  /** `year`: the year of the record; `cycle`: the crop cycle that one of the identifiers names itself. */
  period: 'year' | 'cycle';
}
