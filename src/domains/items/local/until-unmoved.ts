import { isTransientConflict, Problem, sqlStateOf } from '#platform/errors.ts';

const triesMax = 10;

/** Others changed a group while a transaction waited for its rows; another try finds it at rest. */
export class GroupMovedError extends Error {
  constructor() {
    super('another decision changed a group of local items before it was locked');
    this.name = 'GroupMovedError';
  }
}

/**
 * Does the work of a transaction again for as long as others are in its way.
 * @throws Problem overloaded when they stay there.
 */
export async function untilUnmoved<Result>(work: () => Promise<Result>): Promise<Result> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      const isInTheWay = error instanceof GroupMovedError || isTransientConflict(error);
      if (!isInTheWay) throw error;
      // Who waited for a lock in vain has waited long enough.
      if (tries === triesMax || sqlStateOf(error) === '55P03')
        throw new Problem('overloaded', 'others are changing these local items; send again a little later', {
          headers: { 'retry-after': '2' },
          cause: error,
        });
    }
  }
}
