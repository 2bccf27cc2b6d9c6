import { z } from 'zod';
import { eventVisibilities, type MessageType } from '#domains/events/index.ts';

const dfid = z.string();
const by = z.string().meta({ description: 'Who did it, as far as your workspace may know' });
const reason = z.string().nullable();
const dfids = z.array(dfid).meta({ description: 'As far as they are items of your workspace' });

const decided = { by: by.optional(), reason: reason.optional() };
const statusChange = z.object({ from: z.string(), to: z.string(), by });

/** What the system tells of an item, and the payloads of these events. */
const itemEvents = {
  item_created: { description: 'An item got its DFID.', payload: z.object(decided) },
  item_enriched: { description: 'A record told something new of an item.', payload: z.object({}) },
  item_updated: {
    description: 'Fields of an item were set by hand, or changed by a decision about another item.',
    payload: z.object({ changed: z.array(z.string()).optional(), ...decided }),
  },
  item_merged: {
    description: 'Items became part of this one.',
    payload: z.object({
      merged_items: z.number().int(),
      merged_dfids: dfids.optional(),
      strategy: z.string().optional(),
      conflict_id: z.uuid().optional(),
      ...decided,
    }),
  },
  item_unmerged: {
    description: 'Items that were one are two again.',
    payload: z.object({ survivor_dfid: dfid.optional(), restored_dfid: dfid.optional(), ...decided }),
  },
  item_split: {
    description: 'An item was divided, or identifiers that were not its own became another item.',
    payload: z.object({
      kind: z.enum(['division', 'correction']),
      source_dfid: dfid.optional(),
      new_dfid: dfid.optional(),
      quantity: z.string().nullable().optional().meta({ description: 'A decimal number' }),
      unit: z.string().nullable().optional(),
      ...decided,
    }),
  },
  item_status_changed: { description: 'The status of an item was set.', payload: statusChange },
  item_archived: { description: 'An item was archived.', payload: statusChange },
  entry_withdrawn: {
    description: 'A record was withdrawn from an item.',
    payload: z.object({ entry_id: z.uuid(), by, reason }),
  },
} as const;

/** What it tells of conflicts, which may be about many items. */
const conflictEvents = {
  conflict_opened: {
    description: 'Records contradict what is known, and wait for a person.',
    payload: z.object({ conflict_id: z.uuid() }),
  },
  conflict_resolved: {
    description: 'A person decided about such records.',
    payload: z.object({ conflict_id: z.uuid(), action: z.string(), ...decided }),
  },
} as const;

/**
 * Types of events by which the system tells what became of an item. Such an event of the system has no key; clients may use
 * the same words, so one that they send always has one (`judgeEvents`).
 */
export const systemEventTypes: ReadonlySet<string> = new Set(Object.keys(itemEvents));

/** Who says that an event happened. */
export type Teller = 'system' | 'record';

/** @param isKeyless whether an event, which was not withdrawn, has no key. */
export function tellerOf(event: { event_type: string; item_number: number | null }, isKeyless: boolean): Teller {
  const isOfSystem = event.item_number === null || (isKeyless && systemEventTypes.has(event.event_type));
  return isOfSystem ? 'system' : 'record';
}

const eventOf = (told: { source_type: z.ZodType; dfid: z.ZodType; item_id: z.ZodType; told_by: z.ZodType }) => ({
  id: z.uuid().meta({ description: 'The id of the event, as GET /api/events/{id} takes it' }),
  ...told,
  occurred_at: z.iso.datetime(),
  visibility: z.enum(eventVisibilities),
});
const ofItem = { source_type: z.literal('item'), dfid, item_id: z.uuid() };
const ofConflict = { source_type: z.literal('conflict'), dfid: z.null(), item_id: z.null() };
const toldBySystem = { told_by: z.literal('system') };

/** What is told of an event that a record brought, whose type may be any word. */
export const recordedEventData = z.object({
  ...eventOf({ ...ofItem, told_by: z.literal('record') }),
  payload: z.unknown().meta({ description: 'As it was sent' }),
});
export const thinEventData = z.object({ id: z.uuid(), dfid: dfid.nullable(), told_by: z.enum(['system', 'record']) });

const typesOf = (
  events: Readonly<Record<string, { description: string; payload: z.ZodType }>>,
  source: typeof ofItem | typeof ofConflict,
): MessageType[] =>
  Object.entries(events).map(([name, { description, payload }]) => ({
    name,
    description,
    // Records may use the same words for what they say.
    data: z.union([z.object({ ...eventOf({ ...source, ...toldBySystem }), payload }), recordedEventData]),
    thinData: thinEventData,
  }));

/** What this domain tells of. */
export const itemMessageTypes: readonly MessageType[] = [
  ...typesOf(itemEvents, ofItem),
  ...typesOf(conflictEvents, ofConflict),
];
