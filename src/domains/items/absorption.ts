import type pg from 'pg';
import { ItemRows, type GoodRecord, type IncomingRecord, type Verdict } from './item-rows.ts';
import type { NewClaim, NewEntry } from './deduplication.store.ts';
import { evidenceHash } from './evidence.ts';
import type { Finding } from './conflicts/conflict-cases.ts';
import { PendingWrites } from './pending-writes.ts';
import type { PlannedItem, RememberedDecision, ResolutionPlan } from './resolution-plan.ts';
import type { TypeRegistry } from './type-registry.ts';

export interface AbsorbContext {
  readonly workspaceId: string;
  readonly mayLinkItems: boolean;
  /** An item with more distinct identifiers than this is looked at by a person. */
  readonly identifiersMax: number;
  readonly types: TypeRegistry;
  /** Identifiers that count as ended since others tell so in the same transaction. */
  readonly supposedEnds?: ReadonlySet<string>;
  /** Hands out numbers that no other item has or had. */
  takeNumbers(count: number): Promise<number[]>;
}

/** An item moved between the look at it and its lock; another try finds it at rest. */
export class ContentionError extends Error {
  constructor() {
    super('another transaction changed an item before it was locked');
    this.name = 'ContentionError';
  }
}

/** One try at a set of records, between a savepoint and its release or roll-back. */
export class Absorption {
  readonly client: pg.ClientBase;
  readonly context: AbsorbContext;
  readonly verdicts: Verdict[];
  readonly writes = new PendingWrites();
  /** Which item owns each claim of the records, as far as committed when they were looked up. */
  readonly owners = new Map<string, number>();
  /** The same for claims that lead only the submitting workspace to an item. */
  readonly privateOwners = new Map<string, number>();
  /** What persons decided about records with the same identifiers, by `evidenceHash`. */
  readonly decisions = new Map<string, RememberedDecision>();
  /** What belongs to open cases, to be written when everything else is decided. */
  readonly findings: Finding[] = [];
  /** Keys that this transaction holds and that belong to an open case. */
  readonly contestedKeys = new Set<string>();
  /** Claims that this transaction took, as they stand in the database now. */
  readonly held = new Map<string, NewClaim>();

  /** When the last of the records came. */
  readonly latestReceptionMicros: number;
  /** True for records that waited as conflicts until now, so that their entries exist. */
  readonly isRetry: boolean;
  /** What becomes of entries that exist. Others may hold them, so they are written after all else. */
  readonly retriedEntries = new Map<string, NewEntry>();

  constructor(
    client: pg.ClientBase,
    context: AbsorbContext,
    verdicts: Verdict[],
    records: readonly IncomingRecord[],
    isRetry = false,
  ) {
    this.isRetry = isRetry;
    this.client = client;
    this.context = context;
    this.verdicts = verdicts;
    this.latestReceptionMicros = records.reduce((latest, record) => Math.max(latest, record.receivedAtMicros), 0);
  }

  startRows(): ItemRows {
    return new ItemRows(this.context.workspaceId, this.verdicts);
  }

  /** Sends rows; entries that exist are kept for later. */
  write(rows: ItemRows): void {
    if (this.isRetry) for (const entry of rows.entries) this.retriedEntries.set(entry.entryId, entry);
    this.writes.add(...rows.write(this.client, !this.isRetry));
  }

  /**
   * Notes what a plan leaves to persons.
   * @param contributorsOf the other workspaces that contributed to an item that exists.
   */
  addFindings(
    records: readonly GoodRecord[],
    plan: ResolutionPlan,
    numberOf: (item: PlannedItem) => number,
    contributorsOf: (itemNumber: number) => readonly string[],
  ): void {
    for (const [index, { contested }] of plan.conflicts) {
      const { incoming, claims } = records[index]!;
      const itemNumbers = contested.map(numberOf);
      const participants = [
        this.context.workspaceId,
        ...contested.flatMap((item) => item.itemNumbers.flatMap(contributorsOf)),
      ];
      this.findings.push({ entryId: incoming.entryId, keys: claims, itemNumbers, participants });
    }
  }

  /** Forgets findings about records that are planned again. */
  dropFindings(entryIds: ReadonlySet<string>): void {
    const kept = this.findings.filter(({ entryId }) => entryId === undefined || !entryIds.has(entryId));
    this.findings.length = 0;
    for (const finding of kept) this.findings.push(finding);
  }

  get planOptions() {
    const { types, mayLinkItems, identifiersMax, supposedEnds = new Set<string>() } = this.context;
    return { singleClaimTypes: types.singleClaimTypes, mayLinkItems, identifiersMax, supposedEnds };
  }
}

/** What a person decided about records with the same identifiers, as far as it was looked up. */
export function decisionOn(
  { decisions }: Pick<Absorption, 'decisions'>,
  { claims }: Pick<GoodRecord, 'claims'>,
): RememberedDecision | undefined {
  return decisions.size === 0 ? undefined : decisions.get(evidenceHash(claims).toString('hex'));
}

/** The item number of claims that are held for no item. */
export const unowned = 0;

/** The items that a key leads the submitting workspace to. */
export function ownersOf(
  { owners, privateOwners }: Pick<Absorption, 'owners' | 'privateOwners'>,
  key: string,
): readonly number[] {
  const owner = owners.get(key);
  const privateOwner = privateOwners.get(key);
  if (privateOwner === undefined || privateOwner === owner) return owner === undefined ? none : [owner];
  return owner === undefined ? [privateOwner] : [owner, privateOwner];
}

const none: readonly number[] = [];
