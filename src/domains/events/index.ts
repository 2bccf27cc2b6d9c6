export { isReservedType, type MessageType, type NoticeType } from './message-type.ts';
export { makeMessage, type NewMessage } from './message.ts';
export { findListeningWorkspaces, findMessage, insertMessages } from './messages.store.ts';
export { insertNotices } from './notices.ts';
export { eventVisibilities, parseEventVisibility, type EventVisibility } from './event-visibility.ts';
export { findChangedItems } from './changed-items.store.ts';
export {
  discardEvents,
  findEvent,
  findKnownEvents,
  findToldEvents,
  insertEvents,
  listEvents,
  listEventsOfItems,
  markEventsRepeatedByMerge,
  markRepeatedEventsOf,
  rehomeEvents,
  removeEventsOfEntries,
  removeRepeatedEvents,
  withdrawEventsOfEntries,
  type EventRow,
  type NewEvent,
  type RehomedEvents,
  type RemovedEvent,
} from './events.store.ts';
