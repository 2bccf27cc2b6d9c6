import { makeLogger } from '#platform/logger.ts';
import { makeContentStart } from '#domains/storage/index.ts';

/** For tests in which no workspace stores anything outside of the database. */
export const storeNothing = makeContentStart({
  loadTypes: () => Promise.reject(new Error('nobody stores anything here')),
  keys: undefined,
  adapter: null,
  logger: makeLogger({ level: 'silent', name: 'test' }),
});
