import { jsonPointer } from '#platform/json/pointer.ts';
import { foldName, type SubmittedIdentifier, type SubmittedRecord, type TypeRegistry } from '#domains/items/index.ts';
import type { CsvDelimiter } from './formats/csv.ts';

/** How a CSV is laid out: what its header line said. */
export interface CsvLayout {
  readonly delimiter: CsvDelimiter;
  readonly columns: readonly string[];
  /** Bytes and physical lines of the header. */
  readonly headerBytes: number;
  readonly headerLines: number;
}

const plainColumns = ['value_chain', 'country', 'year', 'occurred_at'] as const;
type PlainColumn = (typeof plainColumns)[number];

/** Columns that the imports of the existing client know as metadata. */
const knownMetadata = new Set(['raca', 'peso', 'data_nasc', 'data_entrada', 'fazenda'].map(foldName));
const metadataPrefix = 'metadata.';

/** Columns that our own exports add beside those that were sent; an import leaves them out. */
export const reservedColumns = [
  '_position',
  '_line',
  '_status',
  '_outcome',
  '_dfid',
  '_error_code',
  '_error_detail',
  '_error_pointer',
  '_record',
];

type ColumnRole =
  | { kind: 'reserved' }
  | { kind: 'identifier'; typeName: string }
  | { kind: 'plain'; name: PlainColumn }
  | { kind: 'metadata'; name: string; isKnown: boolean };

/** What each column of a CSV is for. */
export interface CsvColumns {
  readonly roles: readonly ColumnRole[];
  readonly pointers: readonly string[];
  /** Columns that are kept as metadata although nothing knows them. */
  readonly unclassifiedFields: readonly string[];
}

/** Columns named like an identifier type or one of its aliases are identifiers; the rest is metadata. */
export function classifyColumns(columns: readonly string[], types: TypeRegistry): CsvColumns {
  const roles = columns.map((column): ColumnRole => {
    const folded = foldName(column);
    if (reservedColumns.includes(folded)) return { kind: 'reserved' };
    const plain = plainColumns.find((name) => name === folded);
    if (plain) return { kind: 'plain', name: plain };
    if (folded.startsWith(metadataPrefix))
      return { kind: 'metadata', name: column.trim().slice(metadataPrefix.length), isKnown: true };
    const type = types.find(column);
    return type
      ? { kind: 'identifier', typeName: type.name }
      : { kind: 'metadata', name: column, isKnown: knownMetadata.has(folded) };
  });
  return {
    roles,
    pointers: columns.map((column) => jsonPointer(column)),
    unclassifiedFields: columns.filter((_column, index) => {
      const role = roles[index]!;
      return role.kind === 'metadata' && !role.isKnown;
    }),
  };
}

/** Two columns that would give one field its value, or undefined; which of them counts could not be told. */
export function findSharedField(columns: readonly string[], { roles }: CsvColumns): readonly string[] | undefined {
  const columnByField = new Map<string, string>();
  for (const [index, role] of roles.entries()) {
    if (role.kind !== 'metadata') continue;
    const other = columnByField.get(role.name);
    if (other !== undefined) return [other, columns[index]!];
    columnByField.set(role.name, columns[index]!);
  }
  return undefined;
}

/** What is wrong with columns that `findSharedField` found. */
export function sharedFieldDetail(columns: readonly string[]): string {
  return `the columns ${columns.join(' and ')} name the same field`;
}

/** A line of a CSV as a record. Values stay the strings they are; an empty cell is an absent field. */
export function readCsvRecord(values: readonly string[], { roles, pointers }: CsvColumns): SubmittedRecord {
  const identifiers: SubmittedIdentifier[] = [];
  const fields: [string, string][] = [];
  const plain = new Map<PlainColumn, { value: string; pointer: string }>();
  for (const [index, value] of values.entries()) {
    if (value === '') continue;
    const role = roles[index]!;
    const pointer = pointers[index]!;
    if (role.kind === 'identifier') identifiers.push({ typeName: role.typeName, value, pointer });
    else if (role.kind === 'metadata') fields.push([role.name, value]);
    else if (role.kind === 'plain') plain.set(role.name, { value, pointer });
  }
  return {
    identifiers,
    valueChain: plain.get('value_chain'),
    country: plain.get('country'),
    year: plain.get('year'),
    occurredAt: plain.get('occurred_at'),
    fields,
    events: [],
  };
}
