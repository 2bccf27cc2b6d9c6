import type { SentRecord } from './records.ts';
import type { Submission } from './submissions.ts';

/** What one workspace must know of one item. */
export interface ExpectedContribution {
  /** `<claim type> <value>` */
  readonly identifiers: Set<string>;
  /** JSON texts by field name. */
  readonly fields: Map<string, string>;
  /** Kilograms by event key. */
  readonly events: Map<string, number>;
}

/** What one item must be. */
export interface ExpectedItem {
  readonly valueChain: string;
  /** By the index of the workspace. */
  readonly contributions: Map<number, ExpectedContribution>;
}

/** What must have become of a receipt. */
export interface ExpectedReceipt {
  readonly submission: Submission;
  readonly counts: Readonly<Record<'completed' | 'rejected' | 'failed' | 'conflicted', number>>;
  /** By position: the index of the item, or undefined for a record that belongs to none. */
  readonly items: readonly (number | undefined)[];
}

export interface Truth {
  readonly items: readonly ExpectedItem[];
  readonly receipts: readonly ExpectedReceipt[];
}

/** Sets that grow together; the union-find of Galler and Fischer with path halving. */
class Sets {
  readonly #parents = new Map<string, string>();

  rootOf(key: string): string {
    let at = key;
    for (;;) {
      const parent = this.#parents.get(at) ?? at;
      if (parent === at) return at;
      const grandparent = this.#parents.get(parent) ?? parent;
      this.#parents.set(at, grandparent);
      at = grandparent;
    }
  }

  unite(one: string, other: string): void {
    this.#parents.set(this.rootOf(one), this.rootOf(other));
  }
}

/**
 * Computes, one record after the other and with nothing of the product, what all acknowledged receipts together must have
 * become: items are the sets of identifiers that records tie together, and a field has the value of the record that
 * occurred last.
 */
export function computeTruth(submissions: readonly Submission[]): Truth {
  const sets = new Sets();
  const accepted = (record: SentRecord) => record.fate.status === 'completed';
  for (const { records } of submissions) {
    for (const { identityKeys } of records.filter(accepted))
      for (const key of identityKeys) sets.unite(identityKeys[0]!, key);
  }
  const indexByRoot = new Map<string, number>();
  const items: ExpectedItem[] = [];
  const latest = new Map<ExpectedContribution, Map<string, number>>();
  const receipts = submissions.map((submission): ExpectedReceipt => {
    const itemIndexes = submission.records.map((record) => {
      if (!accepted(record)) return undefined;
      const root = sets.rootOf(record.identityKeys[0]!);
      const index =
        indexByRoot.get(root) ?? items.push({ valueChain: record.valueChain, contributions: new Map() }) - 1;
      indexByRoot.set(root, index);
      fold(items[index]!, submission.workspace, record, latest);
      return index;
    });
    const count = (status: string) => submission.records.filter(({ fate }) => fate.status === status).length;
    return {
      submission,
      counts: {
        completed: count('completed'),
        rejected: count('rejected'),
        failed: count('failed'),
        conflicted: count('conflicted'),
      },
      items: itemIndexes,
    };
  });
  return { items, receipts };
}

function fold(
  item: ExpectedItem,
  workspace: number,
  record: SentRecord,
  latest: Map<ExpectedContribution, Map<string, number>>,
): void {
  let contribution = item.contributions.get(workspace);
  if (!contribution) {
    contribution = { identifiers: new Set(), fields: new Map(), events: new Map() };
    item.contributions.set(workspace, contribution);
    latest.set(contribution, new Map());
  }
  for (const { claimType, value } of record.identifiers) contribution.identifiers.add(`${claimType} ${value}`);
  for (const { key, kilograms } of record.events) contribution.events.set(key, kilograms);
  const times = latest.get(contribution)!;
  for (const [name, value] of Object.entries(record.fields)) {
    if (record.occurredAtMs < (times.get(name) ?? Number.NEGATIVE_INFINITY)) continue;
    times.set(name, record.occurredAtMs);
    contribution.fields.set(name, JSON.stringify(value));
  }
}
