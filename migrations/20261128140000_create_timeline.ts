import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- where contents of items first stood on a public ledger
    create table item_timeline (
      timeline_id bigint generated always as identity constraint item_timeline_pkey primary key,
      item_number bigint not null,
      cid text not null,
      -- the passphrase of the network
      network text not null,
      transaction_hash text not null,
      ledger bigint not null,
      closed_at timestamptz not null,
      -- a checkpoint of the log, or a contract
      source text not null constraint item_timeline_source_check check (source in ('anchor', 'contract')),
      created_at timestamptz not null default now(),
      constraint item_timeline_key unique (item_number, cid, network, transaction_hash)
    );

    -- how far what stands on a network was followed
    create table timeline_progress (
      network text not null,
      -- 'log', or the contract whose events are read
      subject text not null,
      -- entries of the log that are done, or the first ledger that is not
      position bigint not null,
      -- the last ledger that is known of, and when it was asked for
      latest_ledger bigint,
      -- events that name no item of this installation, or are none of the kind
      ignored_events bigint not null default 0,
      -- why nothing is read, in words; null when all is well
      refusal text,
      due_at timestamptz not null default now(),
      constraint timeline_progress_pkey primary key (network, subject)
    );

    -- ledgers that nobody could tell of any longer when they were asked for
    create table timeline_gaps (
      network text not null,
      subject text not null,
      from_ledger bigint not null,
      to_ledger bigint not null,
      found_at timestamptz not null default now(),
      constraint timeline_gaps_pkey primary key (network, subject, from_ledger)
    );

    -- versions stand in the order of their entries, so ranges are enough; who reads by it summarises them before
    create index item_versions_index_brin on item_versions using brin (index) with (pages_per_range = 16);
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop index item_versions_index_brin; drop table timeline_gaps, timeline_progress, item_timeline');
}
