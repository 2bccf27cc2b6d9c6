/** What a record or a fold says of the life of its item, in microseconds since the Unix epoch. */
export interface LifeTimes {
  /** When the item ended; null when nothing says so. */
  readonly endedAtMicros: number | null;
  /** The latest occurrence that was stated; null when none was. */
  readonly latestMicros: number | null;
}

export const unknownLife: LifeTimes = { endedAtMicros: null, latestMicros: null };

/** The events after which an animal or a lot is not on any farm any longer, in the words that senders use. */
export const endingEventTypes = [
  'death',
  'died',
  'morte',
  'slaughter',
  'slaughtered',
  'abate',
  'export',
  'exported',
  'exportacao',
];

/** Whether an event of this type ends its item; its identifiers stay what they are. */
export function endsItem(eventType: string): boolean {
  return endingEventTypes.includes(eventType);
}

interface TimedEvent {
  readonly eventType: string;
  readonly occurredAtMicros: number | null;
}

/**
 * What a record says of the life of its item. What else a record with an end tells, as the weight of the carcass, belongs
 * to that end however late it was noted.
 * @param nowMicros the end of an item for which no time is stated.
 */
export function lifeTimesOf(
  occurredAtMicros: number | null,
  events: readonly TimedEvent[],
  nowMicros: number,
): LifeTimes {
  let endedAtMicros: number | null = null;
  let latestMicros = occurredAtMicros;
  for (const event of events) {
    latestMicros = latest(latestMicros, event.occurredAtMicros);
    if (endsItem(event.eventType)) endedAtMicros = earliest(endedAtMicros, event.occurredAtMicros ?? nowMicros);
  }
  return { endedAtMicros, latestMicros: endedAtMicros ?? latestMicros };
}

/** The life that two parts of what is known of an item tell together. */
export function joinLives(one: LifeTimes, other: LifeTimes): LifeTimes {
  return {
    endedAtMicros: earliest(one.endedAtMicros, other.endedAtMicros),
    latestMicros: latest(one.latestMicros, other.latestMicros),
  };
}

function earliest(one: number | null, other: number | null): number | null {
  return one === null || (other !== null && other < one) ? other : one;
}

function latest(one: number | null, other: number | null): number | null {
  return one === null || (other !== null && other > one) ? other : one;
}
