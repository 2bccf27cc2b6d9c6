import { canonicalJson } from '#platform/json/canonical.ts';

/**
 * What becomes of the fields of a local item when another is merged into it. `append`: lists become one without repeats,
 * objects get the other's members, of all else the last wins; `overwrite`: the last wins, whole; `keep_first`: nothing.
 */
export const mergeStrategies = ['append', 'keep_first', 'overwrite'] as const;

/** One of `mergeStrategies`. */
export type MergeStrategy = (typeof mergeStrategies)[number];

/** `[type as sent, value as sent, claim type, normal value, is canonical]` */
export type LocalIdentifier = [string, string, string, string, 0 | 1];

/** What one record brought: the JSON that `local_items.content` holds. */
export interface LocalContent {
  readonly identifiers: readonly LocalIdentifier[];
  readonly fields: Readonly<Record<string, unknown>>;
}

/** What is known of a local item with all that was merged into it: the JSON that `local_items.folded` holds. */
export interface LocalFold extends LocalContent {
  /** The local ids of the records it comes from, its own first. */
  readonly sources: readonly string[];
}

/** A node of a tree of merges. */
export interface GroupMember {
  readonly localId: string;
  readonly content: LocalContent;
  /** Null for the root. */
  readonly merge: { readonly parentId: string; readonly strategy: MergeStrategy; readonly order: number } | null;
}

/**
 * The values of a local item and of all that was merged into it: own content first, then that of each child, itself
 * folded, in the order of the merges. It depends on the tree alone, so what is taken out leaves no trace.
 */
export function foldGroup(rootId: string, members: readonly GroupMember[]): LocalFold {
  const contents = new Map(members.map((member) => [member.localId, member.content]));
  const children = Map.groupBy(
    members.filter((member) => member.merge !== null).toSorted((a, b) => a.merge!.order - b.merge!.order),
    (member) => member.merge!.parentId,
  );
  const identifiers = new Map<string, LocalIdentifier>();
  const sources: string[] = [];
  const foldNode = (localId: string): Fields => {
    const { fields: own, identifiers: named } = contents.get(localId)!;
    sources.push(localId);
    for (const identifier of named) {
      const key = `${identifier[2]}\u0000${identifier[3]}`;
      if (!identifiers.has(key)) identifiers.set(key, identifier);
    }
    const fields: Fields = new Map(Object.entries(own).map(([name, value]) => [name, { value }]));
    for (const child of children.get(localId) ?? [])
      mergeFields(fields, foldNode(child.localId), child.merge!.strategy);
    return fields;
  };
  const fields = Object.fromEntries([...foldNode(rootId)].map(([name, value]) => [name, valueOf(value)]));
  return { identifiers: [...identifiers.values()], fields, sources };
}

/** A field's value; once lists or objects were joined, what it is made of, so that each further join costs its own size only. */
type Accumulated =
  | { readonly value: unknown }
  /** By canonical JSON. */
  | { readonly elements: Map<string, unknown> }
  | { readonly properties: Map<string, unknown> };

type Fields = Map<string, Accumulated>;

function mergeFields(fields: Fields, others: Fields, strategy: MergeStrategy): void {
  if (strategy === 'keep_first') return;
  for (const [name, other] of others) {
    const known = fields.get(name);
    fields.set(name, known && strategy === 'append' ? join(known, other) : other);
  }
}

function join(first: Accumulated, second: Accumulated): Accumulated {
  const elements = elementsOf(first);
  const added = elements && elementsOf(second);
  if (elements && added) {
    for (const [key, element] of added) if (!elements.has(key)) elements.set(key, element);
    return { elements };
  }
  const properties = propertiesOf(first);
  const changed = properties && propertiesOf(second);
  if (!properties || !changed) return second;
  for (const [key, value] of changed) properties.set(key, value);
  return { properties };
}

function elementsOf(field: Accumulated): Map<string, unknown> | undefined {
  if ('elements' in field) return field.elements;
  if (!('value' in field) || !Array.isArray(field.value)) return undefined;
  return new Map(field.value.map((element: unknown) => [canonicalJson(element), element]));
}

function propertiesOf(field: Accumulated): Map<string, unknown> | undefined {
  if ('properties' in field) return field.properties;
  if (!('value' in field) || typeof field.value !== 'object' || field.value === null || Array.isArray(field.value))
    return undefined;
  return new Map(Object.entries(field.value));
}

function valueOf(field: Accumulated): unknown {
  if ('elements' in field) return [...field.elements.values()];
  return 'properties' in field ? Object.fromEntries(field.properties) : field.value;
}
