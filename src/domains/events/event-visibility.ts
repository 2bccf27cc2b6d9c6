/** Who may see an event: everybody, its workspace, members of the circuit it is seen in, or its source and recipient. */
export const eventVisibilities = ['public', 'private', 'circuit_only', 'direct'] as const;
export type EventVisibility = (typeof eventVisibilities)[number];

const byFoldedName = new Map(eventVisibilities.map((visibility) => [visibility.replace('_', ''), visibility]));

/** Reads `public`, `Public`, `circuit_only`, `CircuitOnly` …; undefined for anything else. */
export function parseEventVisibility(value: unknown): EventVisibility | undefined {
  return typeof value === 'string' ? byFoldedName.get(value.toLowerCase().replaceAll('_', '')) : undefined;
}
