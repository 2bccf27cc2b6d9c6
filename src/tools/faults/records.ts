import { makeRandom, type Random } from './random.ts';

/** An identifier in the form in which the product compares it, so that sent and stored values are the same text. */
export interface SentIdentifier {
  /** The type as sent. */
  readonly type: string;
  readonly value: string;
  /** The type under which it is compared. */
  readonly claimType: string;
  readonly isCanonical: boolean;
}

export interface SentEvent {
  readonly key: string;
  readonly kilograms: number;
}

/** What must become of a record, whatever the order in which all records are worked. */
export type ExpectedFate =
  | { status: 'completed' }
  | { status: 'conflicted' }
  | { status: 'rejected' | 'failed'; code: string };

/** A record of the load, with what the truth needs to know of it. */
export interface SentRecord {
  readonly fate: ExpectedFate;
  readonly identifiers: readonly SentIdentifier[];
  /** What identifies the item: canonical identifiers, and complete lots, which hold within one workspace. */
  readonly identityKeys: readonly string[];
  /** Decides which of several values of a field is the last; different for any two records of different content. */
  readonly occurredAtMs: number;
  readonly valueChain: 'BEEF' | 'SOY';
  readonly fields: Readonly<Record<string, unknown>>;
  readonly events: readonly SentEvent[];
  /** The text to send instead, for records that cannot be read. */
  readonly brokenText?: string;
}

export type PoisonKind = 'unstorable' | 'deadly';

/** The texts by which poison records are known. */
export const poisonMarks: Readonly<Record<PoisonKind, string>> = {
  unstorable: 'poison: unstorable',
  deadly: 'poison: deadly',
};

const firstOccurrenceMs = Date.UTC(2024, 0, 1);
/** A prime, so that multiples of another number visit all remainders: times jump about and never repeat. */
const occurrences = 1_000_003;
const occurrenceStep = 7919;
const breeds = ['Nelore', 'Angus', 'Guzerá', 'Brahman, cruzado', 'Hereford "PO"'];
const gtin = '09506000134352';
const repeatable = 400;

/** The identifier text of the n-th animal or lot; every animal has at most one of each type, as the product demands. */
const identifierMakers = [
  (n: number) => canonical('sisbov', 'sisbov', `105${digits(n)}`),
  (n: number) => canonical('chip', 'chip', `982${digits(n)}`),
  // One number under two names: both mean the official transponder.
  (n: number) => canonical(n % 2 === 0 ? 'chip' : 'sisbov', 'official_transponder', `076${digits(n)}`),
  (n: number) => canonical('sgtin', 'sgtin', `(01)${gtin}(21)S${n}`),
] as const;

function digits(n: number): string {
  return String(n).padStart(12, '0');
}

function canonical(type: string, claimType: string, value: string): SentIdentifier {
  return { type, claimType, value, isCanonical: true };
}

function contextual(type: string, value: string): SentIdentifier {
  return { type, claimType: type, value, isCanonical: false };
}

function keyOf({ claimType, value }: SentIdentifier): string {
  return `${claimType} ${value}`;
}

/**
 * Makes records about a limited herd and a few lots, so that most records meet an item that others name too: by the same
 * identifier, by a chain of identifiers, or as an exact repetition.
 */
export class RecordSource {
  readonly #random: Random;
  readonly #herd: number;
  readonly #recent: { jsonOnly: boolean; workspace: number; record: SentRecord }[] = [];
  #occurrence = 0;
  #poisons = 0;

  constructor(seed: string, herd: number) {
    this.#random = makeRandom(seed);
    this.#herd = herd;
  }

  /** Animals whose identifiers are tied together before a scenario begins, so that a contradiction to them is one in any order. */
  static readonly settledAnimals = 40;

  /** Records that tie sisbov and chip of the settled animals together. */
  *baseline(): Generator<SentRecord> {
    for (let n = 0; n < RecordSource.settledAnimals; n += 1) {
      yield this.#animal([identifierMakers[0](n), identifierMakers[1](n)], n, true);
    }
  }

  /** The next record of a workspace; with `jsonOnly` it may hold what CSV cannot. */
  next(workspace: number, jsonOnly: boolean): SentRecord {
    const random = this.#random;
    if (random.chance(6) && this.#recent.length > 0) {
      const earlier = random.pick(this.#recent);
      // The same receipt format carries the same values.
      if (earlier.workspace === workspace && earlier.jsonOnly === jsonOnly) return earlier.record;
    }
    if (random.chance(2)) return this.#contradiction();
    const record = random.chance(12) ? this.#lot(workspace, jsonOnly) : this.#chainedAnimal(jsonOnly);
    const remembered = { jsonOnly, workspace, record };
    if (this.#recent.length < repeatable) this.#recent.push(remembered);
    else this.#recent[random.below(repeatable)] = remembered;
    return record;
  }

  /** A record or line that must be rejected alone. */
  bad(format: 'ndjson' | 'csv', delimiter = ','): SentRecord {
    const broken = (code: string, brokenText: string): SentRecord => ({
      ...this.#animal([], 0, false),
      fate: { status: 'rejected', code },
      brokenText,
    });
    const n = this.#animalNumber();
    if (format === 'csv') {
      const cells = (sisbov: string, occurredAt: string) =>
        [sisbov, '', '', '', occurredAt, 'Angus', ''].join(delimiter);
      return this.#random.pick([
        () => broken('csv_column_count', `105${digits(n)}${delimiter}only two columns`),
        () => broken('csv_stray_quote', cells(`105"${digits(n)}`, '')),
        () => broken('invalid_occurred_at', cells(`105${digits(n)}`, 'yesterday')),
        () => broken('no_identifying_identifier', cells('', '')),
        () => broken('spreadsheet_damage', cells('1.05E+14', '')),
        () => broken('invalid_identifier', cells('105', '')),
      ])();
    }
    const identifiers = `"identifiers":[{"identifier_type":"sisbov","value":"105${digits(n)}"}]`;
    return this.#random.pick([
      () => broken('invalid_json', `{${identifiers},`),
      () => broken('duplicate_key', `{${identifiers},"year":2024,"year":2025}`),
      () => broken('no_identifying_identifier', '{}'),
      () => broken('not_an_object', '[1]'),
      () => broken('unknown_member', `{${identifiers},"colour":"red"}`),
      () => broken('number_not_interoperable', `{${identifiers},"metadata":{"peso":9007199254740993}}`),
    ])();
  }

  /**
   * A record of an animal of its own with a mark by which a trigger in the database knows it: as `unstorable` the database
   * refuses it, as `deadly` it ends the session that writes it.
   */
  poison(kind: PoisonKind): SentRecord {
    this.#poisons += 1;
    const record = this.#animal([identifierMakers[0](this.#herd + this.#poisons)], 0, true);
    return {
      ...record,
      fields: { note: poisonMarks[kind] },
      events: [],
      fate:
        kind === 'deadly'
          ? { status: 'failed', code: 'processing_failed' }
          : { status: 'rejected', code: 'unprocessable_record' },
    };
  }

  #animalNumber(): number {
    // The square prefers low numbers: some animals are named by very many records.
    const share = this.#random.below(10_000) / 10_000;
    return RecordSource.settledAnimals + Math.floor(share * share * (this.#herd - RecordSource.settledAnimals));
  }

  /** Names one to three neighbours of the chain of an animal's identifiers. */
  #chainedAnimal(jsonOnly: boolean): SentRecord {
    const n = this.#animalNumber();
    const length = this.#random.pick([1, 1, 2, 2, 3]);
    const from = this.#random.below(identifierMakers.length - length + 1);
    const identifiers = identifierMakers.slice(from, from + length).map((make) => make(n));
    if (this.#random.chance(25)) identifiers.push(contextual('brinco', `B-${n % 97}`));
    return this.#animal(identifiers, n, jsonOnly);
  }

  #animal(identifiers: readonly SentIdentifier[], n: number, jsonOnly: boolean): SentRecord {
    const random = this.#random;
    const occurredAtMs = this.#nextOccurrenceMs();
    const fields: Record<string, unknown> = { raca: random.pick(breeds) };
    if (random.chance(60)) fields['peso'] = String(100 + random.below(600));
    if (random.chance(30)) fields['note'] = `line one\nline ${random.below(1000)}`;
    if (jsonOnly && random.chance(50)) fields['measure'] = { height: random.below(200), unit: 'cm', checked: true };
    const events: SentEvent[] =
      jsonOnly && identifiers[0]?.claimType === 'sisbov' && random.chance(40)
        ? [{ key: `weighing-${n}-${random.below(5)}`, kilograms: n % 500 }]
        : [];
    return {
      fate: { status: 'completed' },
      identifiers,
      identityKeys: identifiers.filter(({ isCanonical }) => isCanonical).map(keyOf),
      occurredAtMs,
      valueChain: 'BEEF',
      fields,
      events,
    };
  }

  #lot(workspace: number, jsonOnly: boolean): SentRecord {
    const n = this.#random.below(Math.max(10, this.#herd >> 4));
    const identifiers = [contextual('lote', `L-${n}`), contextual('safra', '2024/2025')];
    const serial = canonical('sgtin', 'sgtin', `(01)${gtin}(21)L${workspace}-${n}`);
    if (this.#random.chance(40)) identifiers.push(serial);
    return {
      ...this.#animal([], n, jsonOnly),
      valueChain: 'SOY',
      identifiers,
      identityKeys: [`lot ${workspace} ${n}`, ...identifiers.filter(({ isCanonical }) => isCanonical).map(keyOf)],
    };
  }

  /** A record that cannot be true in any order: two numbers of a kind in itself, or of two animals that are settled. */
  #contradiction(): SentRecord {
    const first = this.#random.below(RecordSource.settledAnimals - 1);
    const second = first + 1 + this.#random.below(RecordSource.settledAnimals - first - 1);
    const identifiers = this.#random.chance(50)
      ? [identifierMakers[0](this.#animalNumber()), identifierMakers[0](first)]
      : [identifierMakers[0](first), identifierMakers[1](second)];
    return { ...this.#animal(identifiers, first, true), fate: { status: 'conflicted' }, events: [] };
  }

  #nextOccurrenceMs(): number {
    this.#occurrence += 1;
    return firstOccurrenceMs + ((this.#occurrence * occurrenceStep) % occurrences) * 1000;
  }
}
