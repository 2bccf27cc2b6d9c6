import type { Knex } from 'knex';

/**
 * A workspace finds its open cases without reading all that were ever decided. A trigger keeps it so, since the version
 * before resolves cases too.
 */
export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    set local lock_timeout = '5s';
    alter table conflict_participants add column is_open boolean not null default true;
    create function keep_open_cases() returns trigger language plpgsql as $$
      begin
        update conflict_participants set is_open = (new.status = 'open') where conflict_id = new.conflict_id;
        return null;
      end
    $$;
    create trigger conflicts_status after update of status on conflicts
      for each row when (old.status is distinct from new.status) execute function keep_open_cases();
    update conflict_participants as participants set is_open = false from conflicts
      where conflicts.conflict_id = participants.conflict_id and conflicts.status <> 'open';
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    drop trigger conflicts_status on conflicts;
    drop function keep_open_cases();
    alter table conflict_participants drop column is_open;
  `);
}
