export { eventVisibilities, parseEventVisibility, type EventVisibility } from './event-visibility.ts';
export { findChangedItems } from './changed-items.store.ts';
export {
  discardEvents,
  findEvent,
  findKnownEventKeys,
  insertEvents,
  listEvents,
  listEventsOfItems,
  type EventRow,
  type NewEvent,
} from './events.store.ts';
