import { groupByShared } from '#platform/group-by-shared.ts';
import { canonicalJson } from '#platform/json/canonical.ts';
import { claimKey } from '../judge-record.ts';
import type { LocalContent } from './local-item-fold.ts';

/** One local item that has an identifier which others have too. */
export interface SharedIdentifier {
  readonly identifierType: string;
  readonly value: string;
  readonly localId: string;
  /** Microseconds since the Unix epoch: `occurred_at` if the record has one, else its arrival. */
  readonly collectedAtMicros: number;
  /** The order of arrival. */
  readonly sequence: number;
}

/** Local items that share identifiers, directly or through others. */
export interface DuplicateGroup {
  /** Oldest first; the first is the one to merge the others into. */
  readonly localIds: readonly string[];
  /** Each with the local items that have it. */
  readonly sharedIdentifiers: readonly {
    readonly identifierType: string;
    readonly value: string;
    readonly localIds: readonly string[];
  }[];
}

/** Joins all local items that share an identifier, groups and their members oldest first. */
export function groupDuplicates(shared: readonly SharedIdentifier[]): DuplicateGroup[] {
  const rowsOf = Map.groupBy(shared, ({ localId }) => localId);
  const items = [...rowsOf.values()].map(([first]) => first!).toSorted(compareAge);
  return groupByShared(items, ({ localId }) => rowsOf.get(localId)!.map(keyOf))
    .filter((members) => members.length > 1)
    .map((members) => {
      const having = Map.groupBy(
        members.flatMap(({ localId }) => rowsOf.get(localId)!),
        keyOf,
      );
      return {
        localIds: members.map(({ localId }) => localId),
        sharedIdentifiers: [...having.values()]
          .filter((rows) => rows.length > 1)
          .map((rows) => ({
            identifierType: rows[0]!.identifierType,
            value: rows[0]!.value,
            localIds: rows.map(({ localId }) => localId),
          })),
      };
    });
}

function keyOf({ identifierType, value }: SharedIdentifier): string {
  return claimKey(identifierType, value);
}

function compareAge(a: SharedIdentifier, b: SharedIdentifier): number {
  return a.collectedAtMicros - b.collectedAtMicros || a.sequence - b.sequence;
}

/** Fields that members of a group disagree about, with the value that each of them has. */
export function findConflictingFields(
  members: readonly { readonly localId: string; readonly content: LocalContent }[],
): { field: string; values: { local_id: string; value: unknown }[] }[] {
  const valuesOf = new Map<string, { local_id: string; value: unknown }[]>();
  for (const { localId, content } of members) {
    for (const [field, value] of Object.entries(content.fields)) {
      const values = valuesOf.get(field);
      if (values) values.push({ local_id: localId, value });
      else valuesOf.set(field, [{ local_id: localId, value }]);
    }
  }
  return [...valuesOf]
    .filter(([, values]) => new Set(values.map(({ value }) => canonicalJson(value))).size > 1)
    .map(([field, values]) => ({ field, values }));
}

/** One canonical identifier of a local item. */
export interface NamedIdentifier {
  readonly localId: string;
  readonly identifierType: string;
  readonly value: string;
}

/**
 * Identifiers of types of which one thing has one only, but the members of a group have several, and none of them named
 * them all: a collector who names two together says that they are of one thing.
 */
export function findConflictingIdentifiers(
  identifiers: readonly NamedIdentifier[],
  singleTypes: ReadonlySet<string>,
): { identifier_type: string; values: { local_id: string; value: string }[] }[] {
  const byType = Map.groupBy(
    identifiers.filter(({ identifierType }) => singleTypes.has(identifierType)),
    ({ identifierType }) => identifierType,
  );
  return [...byType]
    .filter(([, named]) => {
      const known = countValues(named);
      return [...Map.groupBy(named, ({ localId }) => localId).values()].every((own) => countValues(own) < known);
    })
    .map(([identifierType, named]) => ({
      identifier_type: identifierType,
      values: named.map(({ localId, value }) => ({ local_id: localId, value })),
    }));
}

function countValues(identifiers: readonly NamedIdentifier[]): number {
  return new Set(identifiers.map(({ value }) => value)).size;
}
