import type { Knex } from 'knex';

const allChains = ['BEEF', 'POULTRY', 'PORK', 'SOY', 'CORN', 'COTTON', 'COFFEE', 'MILK', 'GENERIC'];
const cropChains = ['SOY', 'CORN', 'COTTON', 'COFFEE', 'GENERIC'];
const livestockChains = ['BEEF', 'MILK', 'PORK', 'GENERIC'];
const housedChains = ['POULTRY', 'PORK', 'GENERIC'];

function canonicalItemType(name: string, aliases: readonly string[], normaliser: string) {
  return {
    name,
    aliases,
    subject: 'item',
    is_canonical: true,
    cardinality: 'one',
    value_chains: allChains,
    normaliser,
  };
}

function contextualItemType(
  name: string,
  aliases: readonly string[],
  cardinality: 'one' | 'many',
  chains: readonly string[],
) {
  return {
    name,
    aliases,
    subject: 'item',
    is_canonical: false,
    cardinality,
    value_chains: chains,
    normaliser: 'free_text',
  };
}

function referenceType(name: string, subject: string, normaliser: string, aliases: readonly string[] = []) {
  return { name, aliases, subject, is_canonical: true, cardinality: 'many', value_chains: allChains, normaliser };
}

export async function up(knex: Knex): Promise<void> {
  await knex('identifier_types').insert([
    canonicalItemType('sisbov', [], 'sisbov'),
    canonicalItemType(
      'chip',
      ['rfid', 'transponder', 'eid', 'brinco_eletronico', 'official_transponder'],
      'transponder',
    ),
    canonicalItemType('sgtin', [], 'sgtin'),
    contextualItemType('brinco', ['ear_tag', 'brinco_visual'], 'many', livestockChains),
    contextualItemType('lote', ['lot', 'batch'], 'one', allChains),
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
  ]);
  // None for cattle, whose ear tags repeat between farms.
  await knex('fingerprint_rules').insert([
    {
      name: 'lot_of_crop_season',
      version: 1,
      value_chains: ['SOY', 'CORN'],
      identifier_types: ['lote', 'safra'],
      // The crop season names its cycle, which runs over the turn of the year.
      period: 'cycle',
    },
    {
      name: 'lot_of_poultry_house',
      version: 1,
      value_chains: ['POULTRY'],
      identifier_types: ['lote', 'granja'],
      period: 'year',
    },
  ]);
}

export async function down(knex: Knex): Promise<void> {
  await knex('fingerprint_rules').delete();
  await knex('identifier_types').delete();
}
