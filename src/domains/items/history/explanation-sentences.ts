import type { ExplainedEntry, NamedValue } from './explained-entry.ts';

/** Who decided something, when it was nobody of the asking workspace. */
export const otherDecider = 'an administrator or another participant';

const shownValueMax = 60;
const listedMax = 5;

/** What a sentence about an entry needs beside what is shown of it. */
interface SentenceContext {
  /** The item began with this entry. */
  readonly isCreation: boolean;
  /** Only some identifiers of the entry are part of the item. */
  readonly isPart: boolean;
  /** What identifies the item in the entry. */
  readonly named: readonly NamedValue[];
  /** When the entry with which it shares something was received. */
  readonly earlierAt: Date | undefined;
}

/** Says how an entry came to its item. */
export function entrySentence(entry: Omit<ExplainedEntry, 'sentence'>, context: SentenceContext): string {
  const ending = entry.withdrawn_at === null ? '' : ' It was withdrawn later and does not count any longer.';
  return `${wayInWords(entry, context)}${ending}`;
}

function wayInWords(entry: Omit<ExplainedEntry, 'sentence'>, context: SentenceContext): string {
  const { isCreation, isPart, named, earlierAt } = context;
  const record = `Your record of ${dayOf(entry.received_at)}`;
  const earlier = `your record of ${earlierAt ? dayOf(earlierAt.toISOString()) : 'before'}`;
  switch (entry.how) {
    case 'first_record':
      if (!isCreation) return `${record} is the first that is left of this item.`;
      return named.length === 0
        ? `${record} created ${entry.dfid}.`
        : `${record} created ${entry.dfid}: nothing that was known then had ${listed(named)}.`;
    case 'same_identifier':
      return entry.shared_identifiers.some((each) => each.with === 'you')
        ? `${record} names ${listed(entry.shared_identifiers)}, as ${earlier} does.`
        : `${record} names ${named.length === 1 ? '' : 'at least one of '}${listed(named)}, which another participant sent too.`;
    case 'same_set':
      return `${record} names ${listed(entry.shared_sets.flatMap(({ identifiers }) => identifiers))} together, as ${earlier} does (rule ${entry.shared_sets[0]!.rule}).`;
    case 'linked_items':
      return `${record} names identifiers of several items, which showed that ${joined(entry.linked_dfids)} are one.`;
    case 'edited_by_hand':
      return `Values of the item were edited by hand on ${dayOf(entry.received_at)}.`;
    case 'placed_by_person':
      return `${record} contradicted what was known and waited; ${decided(entry.decision)} that it belongs to this item${because(entry.decision?.reason)}.`;
    case 'divided': {
      const ending = entry.decision ? `, as ${decided(entry.decision)}${because(entry.decision.reason)}` : '';
      return isPart
        ? `Of your record of ${dayOf(entry.received_at)}, ${listed(named)} stayed here while the rest belongs to another item${ending}.`
        : `${record} came here when identifiers were separated from another item${ending}.`;
    }
  }
}

function decided(decision: ExplainedEntry['decision']): string {
  return `${deciderInWords(decision?.decided_by ?? otherDecider)} decided`;
}

/** A person as a sentence calls them. */
export function deciderInWords(decidedBy: string): string {
  return decidedBy === otherDecider ? otherDecider : `somebody of your workspace (${decidedBy})`;
}

/** A reason at the end of a sentence. */
export function because(reason: string | null | undefined): string {
  return reason ? ` (reason: ${reason})` : '';
}

/** The day of a time, in UTC. */
export function dayOf(time: string): string {
  return time.slice(0, 10);
}

/** `1 record`, `2 records` */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** Identifiers in words: the first few of them. */
export function listed(identifiers: readonly NamedValue[]): string {
  const texts = [...new Set(identifiers.map((each) => `${each.identifier_type} ${shortened(each.value)}`))];
  return joined(texts.length > listedMax ? [...texts.slice(0, listedMax), `${texts.length - listedMax} more`] : texts);
}

/** `a`, `a and b`, `a, b and c` */
export function joined(texts: readonly string[]): string {
  return texts.length < 2 ? (texts[0] ?? '') : `${texts.slice(0, -1).join(', ')} and ${texts.at(-1)!}`;
}

function shortened(value: string): string {
  return value.length > shownValueMax ? `${value.slice(0, shownValueMax)}…` : value;
}
