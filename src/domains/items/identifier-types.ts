import { foldName } from './fold-name.ts';
import { type ValueChain, valueChains } from './value-chain.ts';

export { foldName };

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

const cropChains: readonly ValueChain[] = ['SOY', 'CORN', 'COTTON', 'COFFEE', 'GENERIC'];
const livestockChains: readonly ValueChain[] = ['BEEF', 'MILK', 'PORK', 'GENERIC'];
const housedChains: readonly ValueChain[] = ['POULTRY', 'PORK', 'GENERIC'];

function canonicalItemType(name: string, aliases: readonly string[], normaliser: NormaliserName): IdentifierType {
  return { name, aliases, subject: 'item', isCanonical: true, cardinality: 'one', valueChains, normaliser };
}

function contextualItemType(
  name: string,
  aliases: readonly string[],
  cardinality: 'one' | 'many',
  chains: readonly ValueChain[],
): IdentifierType {
  return {
    name,
    aliases,
    subject: 'item',
    isCanonical: false,
    cardinality,
    valueChains: chains,
    normaliser: 'free_text',
  };
}

function referenceType(
  name: string,
  subject: IdentifierSubject,
  normaliser: NormaliserName,
  aliases: readonly string[] = [],
): IdentifierType {
  return { name, aliases, subject, isCanonical: true, cardinality: 'many', valueChains, normaliser };
}

/** The identifier types that a new installation starts with. */
export const seedIdentifierTypes: readonly IdentifierType[] = [
  canonicalItemType('sisbov', [], 'sisbov'),
  // `official_transponder` is what numbers of the Brazilian country code are compared under, so it is a name to ask by too.
  canonicalItemType('chip', ['rfid', 'transponder', 'eid', 'brinco_eletronico', 'official_transponder'], 'transponder'),
  canonicalItemType('sgtin', [], 'sgtin'),
  contextualItemType('brinco', ['ear_tag', 'brinco_visual'], 'many', livestockChains),
  contextualItemType('lote', ['lot', 'batch'], 'one', valueChains),
  contextualItemType('safra', ['crop_season', 'harvest'], 'one', cropChains),
  contextualItemType('talhao', ['field_plot'], 'many', cropChains),
  contextualItemType('granja', ['poultry_house'], 'one', housedChains),
  referenceType('gtin', 'class', 'gtin'),
  referenceType('cpf', 'party', 'cpf'),
  referenceType('cnpj', 'party', 'cnpj'),
  referenceType('ie', 'party', 'ie'),
  referenceType('car', 'place', 'car'),
  // Every NIRF became a code of the Cadastro Imobiliário Brasileiro in 2021 (Instrução Normativa RFB 2.030/2021).
  referenceType('nirf', 'place', 'nirf', ['cib']),
  referenceType('gta', 'document', 'gta'),
];

/** The fingerprint rules that a new installation starts with; none for cattle, whose ear tags repeat between farms. */
export const seedFingerprintRules: readonly FingerprintRule[] = [
  {
    name: 'lot_of_crop_season',
    version: 1,
    valueChains: ['SOY', 'CORN'],
    identifierTypes: ['lote', 'safra'],
    // The crop season names its cycle, which runs over the turn of the year.
    period: 'cycle',
  },
  {
    name: 'lot_of_poultry_house',
    version: 1,
    valueChains: ['POULTRY'],
    identifierTypes: ['lote', 'granja'],
    period: 'year',
  },
];

/** Finds the type that a client means. */
export interface IdentifierTypeIndex {
  /** The type with this name or alias, compared by `foldName`; undefined for an unknown one. */
  find(nameAsSent: string): IdentifierType | undefined;
}

/**
 * Indexes types by all their names. Throws if two types share one: which of them a record meant would depend on the
 * order of the table.
 */
export function makeTypeIndex(types: Iterable<IdentifierType>): IdentifierTypeIndex {
  const typesByName = new Map<string, IdentifierType>();
  for (const type of types) {
    for (const name of new Set([type.name, ...type.aliases].map(foldName))) {
      const other = typesByName.get(name);
      if (other) throw new Error(`The identifier types ${other.name} and ${type.name} share the name ${name}.`);
      typesByName.set(name, type);
    }
  }
  return { find: (nameAsSent) => typesByName.get(foldName(nameAsSent)) };
}
