import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    -- calls of the contracts of the first generation, for contents that everybody may read; their transactions are in
    -- log_anchor_attempts, under the id of the call
    create table contract_calls (
      call_id uuid constraint contract_calls_pkey primary key,
      -- the passphrase of the network
      network text not null,
      contract text not null,
      function text not null constraint contract_calls_function_check check (function in ('update', 'emit_update_event', 'mint')),
      item_number bigint not null,
      -- the content that is told; of a mint, the first one of its item
      content_id uuid not null,
      state text not null default 'open' constraint contract_calls_state_check check (state in ('open', 'confirmed', 'failed')),
      -- how often the contract refused it, and what was wrong last
      refusals integer not null default 0,
      fault text,
      due_at timestamptz not null default now(),
      confirmed_attempt integer,
      ledger bigint,
      created_at timestamptz not null default now(),
      constraint contract_calls_key unique (content_id, network, contract, function)
    );
    create unique index contract_calls_mint_key on contract_calls (item_number, network, contract) where function = 'mint';
    create index contract_calls_open_idx on contract_calls (network, call_id) where state = 'open';

    -- batches that were stored before are done
    create table contract_call_progress (
      network text constraint contract_call_progress_pkey primary key,
      stored_until timestamptz not null,
      due_at timestamptz not null default now()
    );
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw('drop table contract_call_progress, contract_calls');
}
