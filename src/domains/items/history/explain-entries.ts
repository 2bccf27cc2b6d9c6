import type { FingerprintRule } from '../identifier-types.ts';
import { claimKey, fingerprintClaimType } from '../judge-record.ts';
import type { ExplainedEntryRow } from './explanation.store.ts';
import type {
  ExplainedEntry,
  NamedValue,
  SharedIdentifier,
  SharedSet,
  ShownDecision,
  WayToItem,
} from './explained-entry.ts';
import { entrySentence } from './explanation-sentences.ts';

/** What else has to be known to explain entries. */
export interface ExplainingContext {
  readonly rules: readonly Pick<FingerprintRule, 'name' | 'identifierTypes'>[];
  /** Others have a part in the item too. */
  readonly hasOthers: boolean;
  dfidOf(itemNumber: number): string;
  /** The DFIDs of the items that an entry showed to be one. */
  linkedBy(entryId: string): string[];
  /** The decision by which an item came out of another one. */
  separationOf(itemNumber: number): ShownDecision | undefined;
  resolutionOf(row: ExplainedEntryRow): ShownDecision;
}

interface Earlier {
  readonly entryId: string;
  readonly receivedAt: Date;
  readonly isWithdrawn: boolean;
}

/** Says of each entry, in the order of arrival, how it came to the item. */
export function explainEntries(rows: readonly ExplainedEntryRow[], context: ExplainingContext): ExplainedEntry[] {
  const seen = new Map<string, Earlier>();
  return rows.map((row) => {
    const named = namedBy(row);
    const sharedIdentifiers = named.identifiers.flatMap(({ key, ...each }): SharedIdentifier[] => {
      const earlier = seen.get(key);
      return earlier ? [{ ...each, with: 'you', with_entry_id: earlier.entryId }] : [];
    });
    const sharedSets = named.sets.flatMap(({ key, rule }): SharedSet[] => {
      const earlier = seen.get(key);
      return earlier
        ? [{ rule, identifiers: identifiersOfSet(row, rule, context), with_entry_id: earlier.entryId }]
        : [];
    });
    const linked = context.linkedBy(row.entry_id);
    const separation = context.separationOf(row.item_number);
    const how = wayOf(row, {
      isSharing: sharedIdentifiers.length > 0,
      isInSet: sharedSets.length > 0,
      isLinking: linked.length > 0,
      isSeparated: separation !== undefined,
      namesAnything: named.identifiers.length + named.sets.length > 0,
      mayBeOfOthers: context.hasOthers && named.identifiers.length > 0,
    });
    if (how === 'same_identifier' && sharedIdentifiers.length === 0)
      for (const { key: _key, ...each } of named.identifiers)
        sharedIdentifiers.push({ ...each, with: 'another participant', with_entry_id: null });
    const [first] = [...named.identifiers, ...named.sets].flatMap(({ key }) => seen.get(key) ?? []);
    remember(seen, row, named);
    const isDecided = how === 'placed_by_person' || how === 'divided';
    const decision = how === 'placed_by_person' ? context.resolutionOf(row) : (isDecided && separation) || null;
    const explained = {
      entry_id: row.entry_id,
      receipt_id: row.receipt_id,
      received_at: row.received_at.toISOString(),
      dfid: context.dfidOf(row.item_number),
      how,
      shared_identifiers: sharedIdentifiers,
      shared_sets: sharedSets,
      linked_dfids: linked,
      decision,
      withdrawn_at: row.withdrawn_at?.toISOString() ?? null,
    };
    return {
      ...explained,
      sentence: entrySentence(explained, {
        isCreation: row.outcome === 'created',
        isPart: row.kept_claims !== null,
        named: named.identifiers,
        earlierAt: first?.receivedAt,
      }),
    };
  });
}

interface Named {
  readonly identifiers: (NamedValue & { key: string })[];
  readonly sets: { key: string; rule: string }[];
}

/** What identifies the item in an entry, as far as it is here. */
function namedBy({ identifiers, fingerprints, kept_claims: kept }: ExplainedEntryRow): Named {
  const keptKeys = kept && new Set(kept.map(([claimType, value]) => claimKey(claimType, value)));
  const isHere = ({ key }: { key: string }) => !keptKeys || keptKeys.has(key);
  const canonical = identifiers.flatMap(([typeName, raw, claimType, value, isCanonical]) =>
    isCanonical === 1 ? [{ identifier_type: typeName, value: raw, key: claimKey(claimType, value) }] : [],
  );
  const byKey = new Map(canonical.toReversed().map((each) => [each.key, each]));
  const rulePrefix = fingerprintClaimType('');
  return {
    identifiers: [...byKey.values()].toReversed().filter(isHere),
    sets: (fingerprints ?? [])
      .map(([claimType, value]) => ({ key: claimKey(claimType, value), rule: claimType.slice(rulePrefix.length) }))
      .filter(isHere),
  };
}

/** The identifiers that make up a set; all contextual ones when the rule is not known any longer. */
function identifiersOfSet({ identifiers }: ExplainedEntryRow, ruleName: string, { rules }: ExplainingContext) {
  const present = new Set(identifiers.map(([, , claimType]) => claimType));
  const rule = rules.find(
    ({ name, identifierTypes }) => name === ruleName && identifierTypes.every((each) => present.has(each)),
  );
  return identifiers
    .filter(([, , claimType, , isCanonical]) => (rule ? rule.identifierTypes.includes(claimType) : isCanonical === 0))
    .map(([typeName, raw]) => ({ identifier_type: typeName, value: raw }));
}

interface Signs {
  readonly isSharing: boolean;
  readonly isInSet: boolean;
  readonly isLinking: boolean;
  readonly isSeparated: boolean;
  readonly namesAnything: boolean;
  readonly mayBeOfOthers: boolean;
}

const placingActions = new Set(['merge', 'attach', 'separate']);

function wayOf(row: ExplainedEntryRow, signs: Signs): WayToItem {
  if (row.kept_claims) return 'divided';
  if (row.conflict_action !== null && placingActions.has(row.conflict_action)) return 'placed_by_person';
  if (signs.isLinking) return 'linked_items';
  if (row.outcome === 'created' && !signs.isSeparated) return 'first_record';
  if (!signs.namesAnything) return row.outcome === 'created' ? 'first_record' : 'edited_by_hand';
  if (signs.isSharing) return 'same_identifier';
  if (signs.isInSet) return 'same_set';
  if (signs.isSeparated || row.is_divided) return 'divided';
  return signs.mayBeOfOthers ? 'same_identifier' : 'first_record';
}

/** Keeps who named something first; one that was withdrawn gives way to one that counts. */
function remember(seen: Map<string, Earlier>, row: ExplainedEntryRow, { identifiers, sets }: Named): void {
  const isWithdrawn = row.withdrawn_at !== null;
  for (const { key } of [...identifiers, ...sets]) {
    const known = seen.get(key);
    if (!known || (known.isWithdrawn && !isWithdrawn))
      seen.set(key, { entryId: row.entry_id, receivedAt: row.received_at, isWithdrawn });
  }
}
