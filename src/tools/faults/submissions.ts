import { blake3 } from 'hash-wasm';
import { makeRandom, type Random } from './random.ts';
import { RecordSource, type PoisonKind, type SentRecord } from './records.ts';

/** One receipt of the load: what is sent, under which key, and the records in it by position. */
export interface Submission {
  readonly key: string;
  /** Index of the workspace whose API key sends it. */
  readonly workspace: number;
  readonly path: string;
  readonly contentType: string;
  readonly body: Buffer<ArrayBuffer>;
  /** BLAKE3 of the body, 64 hex. */
  readonly hash: string;
  readonly records: readonly SentRecord[];
}

const csvColumns = ['sisbov', 'rfid', 'sgtin', 'brinco', 'occurred_at', 'raca', 'metadata.note'] as const;
const csvColumnOf: Readonly<Record<string, string>> = {
  sisbov: 'sisbov',
  chip: 'rfid',
  sgtin: 'sgtin',
  brinco: 'brinco',
};
const workspaces = 2;

/** Makes receipts of all formats and sizes. The same seed gives the same receipts in the same order. */
export class SubmissionSource {
  readonly #seed: string;
  readonly #random: Random;
  readonly #records: RecordSource;
  readonly #bulkMax: number;
  #count = 0;

  /** @param bulkMax records of the largest NDJSON receipts. */
  constructor(seed: string, { herd, bulkMax }: { herd: number; bulkMax: number }) {
    this.#seed = seed;
    this.#random = makeRandom(`${seed} receipts`);
    this.#records = new RecordSource(seed, herd);
    this.#bulkMax = bulkMax;
  }

  /** The receipt to be settled before a scenario begins; see {@link RecordSource.baseline}. */
  baseline(): Promise<Submission> {
    return this.ndjson(0, [...this.#records.baseline()]);
  }

  next(): Promise<Submission> {
    const workspace = this.#random.below(workspaces);
    const kind = this.#random.below(100);
    if (kind < 86) return this.single(workspace);
    if (kind < 93) return this.ndjson(workspace, this.#many(workspace, 50 + this.#random.below(150)));
    if (kind < 95) return this.ndjson(workspace, this.#many(workspace, 200 + this.#random.below(this.#bulkMax - 199)));
    return this.#csv(workspace);
  }

  /** A poison record in the midst of `neighbours` good ones. */
  poisoned(kind: PoisonKind, neighbours: number): Promise<Submission> {
    const records = Array.from({ length: neighbours }, () => this.#records.next(0, true));
    records.splice(neighbours >> 1, 0, this.#records.poison(kind));
    return this.ndjson(0, records);
  }

  /** A receipt of one record. */
  single(workspace: number): Promise<Submission> {
    const record = this.#records.next(workspace, true);
    return this.#finish(workspace, 'application/json', JSON.stringify(jsonOf(record)), [record]);
  }

  /** A receipt of these records, one a line. */
  ndjson(workspace: number, records: readonly SentRecord[]): Promise<Submission> {
    const lines = records.map((record) => record.brokenText ?? JSON.stringify(jsonOf(record)));
    return this.#finish(workspace, 'application/x-ndjson', `${lines.join('\n')}\n`, records);
  }

  #many(workspace: number, count: number): SentRecord[] {
    return Array.from({ length: count }, () =>
      this.#random.chance(2) ? this.#records.bad('ndjson') : this.#records.next(workspace, true),
    );
  }

  #csv(workspace: number): Promise<Submission> {
    const delimiter = this.#random.pick([',', ';']);
    const records: SentRecord[] = [];
    const count = 50 + this.#random.below(250);
    while (records.length < count) {
      const record = this.#random.chance(5)
        ? this.#records.bad('csv', delimiter)
        : this.#records.next(workspace, false);
      if (record.brokenText !== undefined || fitsCsv(record)) records.push(record);
    }
    const lines = records.map((record) => record.brokenText ?? csvLineOf(record, delimiter));
    const text = `${csvColumns.join(delimiter)}\r\n${lines.join('\r\n')}\r\n`;
    return this.#finish(workspace, 'text/csv', text, records);
  }

  async #finish(
    workspace: number,
    contentType: string,
    text: string,
    records: readonly SentRecord[],
  ): Promise<Submission> {
    this.#count += 1;
    const key = `${this.#seed}-${this.#count}`;
    const body = Buffer.from(text);
    const path = contentType === 'text/csv' ? '/api/receipts?value_chain=BEEF' : '/api/receipts';
    return { key, workspace, path, contentType, body, hash: await blake3(body), records };
  }
}

function jsonOf(record: SentRecord): object {
  return {
    identifiers: record.identifiers.map(({ type, value }) => ({ identifier_type: type, value })),
    value_chain: record.valueChain,
    occurred_at: new Date(record.occurredAtMs).toISOString(),
    metadata: record.fields,
    ...(record.events.length > 0
      ? {
          events: record.events.map(({ key, kilograms }) => ({
            event_type: 'weight_measured',
            event_key: key,
            payload: { kilograms },
          })),
        }
      : {}),
  };
}

/** One cell for each type, and only the fields that have a column. */
function fitsCsv(record: SentRecord): boolean {
  const columns = record.identifiers.map(({ type }) => csvColumnOf[type]);
  return (
    record.valueChain === 'BEEF' &&
    record.events.length === 0 &&
    columns.every((column) => column !== undefined) &&
    new Set(columns).size === columns.length &&
    Object.keys(record.fields).every((name) => name === 'raca' || name === 'note')
  );
}

function csvLineOf(record: SentRecord, delimiter: string): string {
  const cells = new Map<string, string>([
    ['occurred_at', new Date(record.occurredAtMs).toISOString()],
    ['raca', textOf(record.fields['raca'])],
    ['metadata.note', textOf(record.fields['note'])],
  ]);
  for (const { type, value } of record.identifiers) cells.set(csvColumnOf[type]!, value);
  return csvColumns.map((column) => quoted(cells.get(column) ?? '', delimiter)).join(delimiter);
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function quoted(text: string, delimiter: string): string {
  return /["\r\n]/.test(text) || text.includes(delimiter) ? `"${text.replaceAll('"', '""')}"` : text;
}
