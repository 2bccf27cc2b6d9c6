import { jsonPointer } from '#platform/json/pointer.ts';
import type { RecordPlaces, SubmittedRecord } from '#domains/items/index.ts';
import type { CsvColumns } from './csv-records.ts';

/** Where things stand in a JSON record. */
export function jsonPlaces({ fieldsMember = 'metadata' }: SubmittedRecord): RecordPlaces {
  return {
    field: (name) => jsonPointer(fieldsMember, name),
    identifiers: () => '/identifiers',
    occurredAt: '/occurred_at',
  };
}

/** Where things stand in a line of a CSV: in the column of that field or type, or in one that would be named so. */
export function csvPlaces({ roles, pointers }: CsvColumns): RecordPlaces {
  const pointerAt = (column: number, name: string) => pointers[column] ?? jsonPointer(name);
  return {
    field: (name) =>
      pointerAt(
        roles.findIndex((role) => role.kind === 'metadata' && role.name === name),
        name,
      ),
    identifiers: (typeName) =>
      pointerAt(
        roles.findIndex((role) => role.kind === 'identifier' && role.typeName === typeName),
        typeName,
      ),
    get occurredAt() {
      return pointerAt(
        roles.findIndex((role) => role.kind === 'plain' && role.name === 'occurred_at'),
        'occurred_at',
      );
    },
  };
}
