import type { z } from 'zod';

/**
 * A queue and the shape of its jobs. A job is a doorbell: it carries ids and never payloads, and losing or repeating it
 * changes nothing but the time at which the work is done.
 */
export interface QueueDefinition<Data = unknown> {
  readonly name: string;
  /** One sentence for people who look at Bull Board. */
  readonly description: string;
  readonly schema: z.ZodType<Data>;
}

export function defineQueue<Data>(definition: QueueDefinition<Data>): QueueDefinition<Data> {
  return definition;
}

/**
 * The work behind a queue, as a worker process runs it. What works claims its rows in Postgres itself and
 * succeeds when there is nothing to do.
 */
export interface QueueWork<Data = unknown> {
  readonly queue: QueueDefinition<Data>;
  readonly concurrency: number;
  /**
   * Works on the fairest due row, which need not be the one that rang.
   * @param data of the job that gave the permit to work.
   * @returns what the board and the log show.
   */
  process(data: Data): Promise<object>;
  /**
   * Job data for at most `limit` of the oldest rows that are due, that nobody works on, and for which a job may have been
   * lost.
   */
  findOverdue(limit: number): Promise<Data[]>;
  /** Works on one due row without any job; false when there was none. */
  workDirectly(): Promise<boolean>;
  /** The process is about to end: begins nothing more, and ends soon what is under way. */
  stop?(): void;
  /** Mends what a process that died between two commits left behind. */
  tidy?(): Promise<void>;
}
