import type { ValueChain } from './value-chain.ts';

/**
 * What an identifier of a type names. Only `item` can identify an item: a `class` (a GTIN without serial or lot) is shared
 * by all items of a kind, a `document` (a transit permit) by all that it lists.
 */
export const identifierSubjects = ['item', 'party', 'place', 'class', 'document'] as const;
export type IdentifierSubject = (typeof identifierSubjects)[number];

/** How many values of a type one thing can have at one time. */
export const cardinalities = ['one', 'many'] as const;
export type Cardinality = (typeof cardinalities)[number];

/** The rules by which values of a type are checked and brought to one form; see `normaliseIdentifier`. */
export const normaliserNames = [
  'sisbov',
  'transponder',
  'cpf',
  'cnpj',
  'ie',
  'car',
  'nirf',
  'gta',
  'gtin',
  'gln',
  'sscc',
  'sgtin',
  'lgtin',
  'gs1',
  'crop_season',
  'free_text',
] as const;
export type NormaliserName = (typeof normaliserNames)[number];

/** One row of the type table, which alone decides what an identifier means, whatever the client says about it. */
export interface IdentifierType {
  /** In the form of `foldName`. */
  name: string;
  /** Other names under which the type is sent. */
  aliases: readonly string[];
  subject: IdentifierSubject;
  cardinality: Cardinality;
  normaliser: NormaliserName;
  /**
   * The chains in which values mean the same without the sender's context, so that they identify an item if that is the
   * subject. In all other chains they are kept and found, and identify nothing by themselves.
   */
  canonicalChains: readonly ValueChain[];
  /** `global` when the type is or was canonical in a chain, so that items may have claims of it. */
  scope: 'global' | 'workspace';
}

/**
 * A set of contextual types whose values together identify an item inside one workspace and period. Name, version and
 * period become part of the fingerprint, so that a changed rule never matches what an older one made.
 */
export interface FingerprintRule {
  name: string;
  version: number;
  valueChains: readonly ValueChain[];
  identifierTypes: readonly string[];
  /** `year`: the year of the record; `cycle`: the crop cycle that one of the identifiers names itself. */
  period: FingerprintPeriod;
}

export const fingerprintPeriods = ['year', 'cycle'] as const;
export type FingerprintPeriod = (typeof fingerprintPeriods)[number];
