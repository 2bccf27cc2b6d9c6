import type { ItemsService } from '#domains/items/index.ts';
import type { Database } from '#platform/database.ts';
import { Problem } from '#platform/errors.ts';
import { decodeCursor, encodeCursor } from '#platform/page.ts';
import { stellarNetworks } from '../stellar-networks.ts';
import { listGaps, listProgress, listTimeline, type ProgressRow, type TimelineRow } from './timeline.store.ts';

export type TimelineService = ReturnType<typeof makeTimelineService>;

interface TimelineOptions {
  database: Database;
  items: ItemsService;
  /** The network that this installation uses, if it is one of its own; its passphrase. */
  customNetwork: string | undefined;
}

/** Tells which contents of items stand on public ledgers, and how far these were followed. */
export function makeTimelineService({ database: { pool }, items, customNetwork }: TimelineOptions) {
  return {
    /** @throws Problem not_found */
    async list(workspaceId: string, idOrDfid: string, page: { limit: number; cursor?: string | undefined }) {
      const { itemNumbers, dfid } = await items.membersOf(workspaceId, idOrDfid);
      const after = Number(decodeCursor(page.cursor, 'number') ?? 0);
      const { rows, total } = await listTimeline(pool, workspaceId, itemNumbers, { after, limit: page.limit });
      return {
        dfid,
        total_entries: total,
        timeline: rows.map((row) => showEntry(dfid, row)),
        next_cursor: rows.length === page.limit ? encodeCursor(String(rows.at(-1)!.sequence)) : null,
      };
    },

    /** @throws Problem not_found */
    async entry(workspaceId: string, idOrDfid: string, sequence: string) {
      const { itemNumbers, dfid } = await items.membersOf(workspaceId, idOrDfid);
      const wanted = /^[1-9]\d{0,14}$/.test(sequence) ? Number(sequence) : undefined;
      const found =
        wanted === undefined
          ? undefined
          : (await listTimeline(pool, workspaceId, itemNumbers, { after: wanted - 1, limit: 1 })).rows[0];
      if (found?.sequence !== wanted || !found)
        throw new Problem('not_found', 'the timeline of this item has no such entry');
      return showEntry(dfid, found);
    },

    /** @throws Problem not_found for a network that is none */
    async progress(name: string) {
      const network = passphraseOf(name);
      if (network === undefined) throw new Problem('not_found', 'networks are testnet, mainnet and custom');
      const [progress, gaps] = await Promise.all([listProgress(pool, network), listGaps(pool, network)]);
      const log = progress.find(({ subject }) => subject === 'log');
      return {
        network: name,
        log: log ? { anchored_entries: log.position } : null,
        contracts: progress
          .filter(({ subject }) => subject !== 'log' && subject !== 'webhooks')
          .map((row) => ({
            contract: row.subject,
            next_ledger: row.position,
            latest_ledger: row.latest_ledger,
            ignored_events: row.ignored_events,
            state: stateInWords(row),
          })),
        gaps: gaps.map(({ subject, found_at: foundAt, ...ledgers }) => ({
          contract: subject,
          ...ledgers,
          found_at: foundAt.toISOString(),
        })),
      };
    },
  };

  function passphraseOf(name: string): string | undefined {
    if (name === 'custom') return customNetwork;
    return name === 'testnet' || name === 'mainnet' ? stellarNetworks[name].passphrase : undefined;
  }
}

function stateInWords({ refusal, position, latest_ledger: latest }: ProgressRow): string {
  if (refusal !== null) return `Nothing is read at the moment: ${refusal}.`;
  if (latest === null) return 'Nothing was read yet.';
  return position >= latest ? 'All ledgers were read.' : `${latest - position} ledgers are still to be read.`;
}

function showEntry(dfid: string, row: TimelineRow) {
  const known = Object.entries(stellarNetworks).find(([, { passphrase }]) => passphrase === row.network);
  return {
    sequence: row.sequence,
    dfid,
    cid: row.cid,
    transaction_hash: row.transaction_hash,
    blockchain_timestamp: row.closed_at.toISOString(),
    ledger: row.ledger,
    network: known?.[0] ?? 'custom',
    source: row.source,
    created_at: row.created_at.toISOString(),
  };
}
