import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    set local lock_timeout = '5s';
    -- A refused record that somebody dismissed: it waits no more, and no retry takes it up again.
    alter table entries add column dismissed_at timestamptz;
    -- What became of refused records by hand; one row per decision, also of those that changed nothing.
    create table pending_decisions (
      decision_id uuid constraint pending_decisions_pkey primary key,
      workspace_id uuid not null,
      entry_id uuid not null,
      action text not null constraint pending_decisions_action_check check (action in ('approve', 'reject', 'modify')),
      result text not null constraint pending_decisions_result_check
        check (result in ('completed', 'conflicted', 'dismissed', 'still_pending')),
      reason text,
      new_identifiers json,
      new_enriched_data json,
      decided_by uuid not null,
      decided_at timestamptz not null default now()
    );
    create index pending_decisions_entry_idx on pending_decisions (entry_id, decision_id);

    create table quality_rules (
      quality_rule_id uuid constraint quality_rules_pkey primary key,
      workspace_id uuid not null,
      name text not null,
      value_chain text,
      field text not null,
      condition json not null,
      severity text not null constraint quality_rules_severity_check check (severity in ('Low', 'Medium', 'High', 'Critical')),
      created_at timestamptz not null default now(),
      updated_at timestamptz not null default now(),
      constraint quality_rules_name_key unique (workspace_id, name)
    );
    -- Grows with each change of the rules, so that workers know whether theirs are current; 0: there never were any.
    alter table workspaces add column quality_rules_version integer not null default 0;
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    alter table workspaces drop column quality_rules_version; drop table quality_rules; drop table pending_decisions;
    alter table entries drop column dismissed_at;
  `);
}
