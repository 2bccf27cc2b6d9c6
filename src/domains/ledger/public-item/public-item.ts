import type { Database } from '#platform/database.ts';
import { Problem } from '#platform/errors.ts';
import { parseJson } from '#platform/json/parse-json.ts';
import type { ItemsService } from '#domains/items/index.ts';
import { findPublicContents } from '#domains/storage/index.ts';
import { readCheckpoint } from '../checkpoint.ts';
import type { ProofBundle } from '../ledger.schema.ts';
import type { LedgerService } from '../ledger.service.ts';

interface PublicItemOptions {
  database: Database;
  items: ItemsService;
  ledger: LedgerService;
}

/** What one participant lets everybody read of an item, and how it is proven. */
export interface PublicPart {
  readonly version: number;
  readonly cid: string;
  readonly identifiers: readonly { readonly identifier_type: string; readonly value: string }[];
  readonly metadata: Readonly<Record<string, unknown>>;
  /** Undefined until the version is in the signed log. */
  readonly proof: ProofBundle | undefined;
}

export interface PublicItem {
  readonly dfid: string;
  readonly valueChain: string;
  readonly country: string;
  readonly year: number;
  readonly parts: readonly PublicPart[];
}

/** Participants that one page shows at most. */
const partsMax = 20;

export type PublicItems = ReturnType<typeof makePublicItems>;

/** Shows everybody what participants declared public of an item, and nothing of items of which nobody did. */
export function makePublicItems({ database: { pool }, items, ledger }: PublicItemOptions) {
  return {
    /** @throws Problem not_found, whether there is no such item or nothing of it is public. */
    async find(dfid: string): Promise<PublicItem> {
      const item = await items.findByDfid(dfid);
      const contents = item ? await findPublicContents(pool, item.itemNumbers, partsMax) : [];
      if (!item || contents.length === 0)
        throw new Problem('not_found', 'nothing public is known of an item with this DFID');
      const parts: PublicPart[] = [];
      for (const { workspace_id: workspaceId, item_number: itemNumber, version, cid, bytes } of contents) {
        const content = parseJson(bytes.toString('utf8')) as Pick<PublicPart, 'identifiers' | 'metadata'>;
        const proof = await ledger.provePublicly(workspaceId, itemNumber, version);
        parts.push({ version, cid, identifiers: content.identifiers, metadata: content.metadata, proof });
      }
      return { dfid: item.dfid, valueChain: item.value_chain, country: item.country, year: item.year, parts };
    },
  };
}

/** How far a part is proven. */
export type ProofState =
  | { readonly kind: 'waiting' }
  | { readonly kind: 'unsigned' }
  | { readonly kind: 'signed'; readonly origin: string }
  | {
      readonly kind: 'anchored';
      readonly origin: string;
      readonly networkPassphrase: string;
      readonly ledger: number;
      readonly closedAt: string;
      readonly hash: string;
    };

/** What may be said of a proof without asking anybody. */
export function stateOf({ proof }: PublicPart): ProofState {
  if (!proof) return { kind: 'waiting' };
  const checkpoint = proof.checkpoint === null ? undefined : readCheckpoint(proof.checkpoint);
  if (!checkpoint) return { kind: 'unsigned' };
  if (!proof.anchor) return { kind: 'signed', origin: checkpoint.origin };
  const { network_passphrase: networkPassphrase, ledger, closed_at: closedAt, hash } = proof.anchor;
  return { kind: 'anchored', origin: checkpoint.origin, networkPassphrase, ledger, closedAt, hash };
}
