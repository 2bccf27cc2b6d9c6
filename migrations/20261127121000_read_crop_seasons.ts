import type { Knex } from 'knex';

/** Fingerprints that were made of seasons as they were written would match nothing any longer, so those stay as they are. */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    update identifier_types set normaliser = 'crop_season'
    where name = 'safra' and normaliser = 'free_text'
      and not exists (select from identifier_claims where identifier_type = 'fingerprint:lot_of_crop_season')
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(
    `update identifier_types set normaliser = 'free_text' where name = 'safra' and normaliser = 'crop_season'`,
  );
}
