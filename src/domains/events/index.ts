export { eventVisibilities, parseEventVisibility, type EventVisibility } from './event-visibility.ts';
export {
  discardEvents,
  findEvent,
  findKnownEvents,
  insertEvents,
  listEvents,
  listEventsOfItems,
  type EventRow,
  type NewEvent,
} from './events.store.ts';
