import type { Logger } from '#platform/logger.ts';

interface ProcessLife {
  logger: Logger;
  /** Ends the process's work in order. */
  stop(): Promise<void>;
}

/** A process that has not stopped by then ends all the same; its claims fall back to others. */
const stopMs = 9000;

/**
 * Stops the process in order on SIGTERM and SIGINT, and when the process that started it is gone. A second signal ends it
 * at once.
 */
export function endOnSignal({ logger, stop }: ProcessLife): void {
  let isStopping = false;
  const end = (reason: string) => {
    if (isStopping) process.exit(1);
    isStopping = true;
    logger.info({ reason }, 'stopping');
    const deadline = setTimeout(() => {
      logger.error('did not stop in time');
      logger.flush();
      process.exit(1);
    }, stopMs);
    deadline.unref();
    stop().then(
      () => process.exit(0),
      (error: unknown) => {
        logger.error({ err: error }, 'stopping failed');
        logger.flush();
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', () => end('SIGTERM'));
  process.on('SIGINT', () => end('SIGINT'));
  process.once('disconnect', () => end('the process that started this one is gone'));
}

/** Whether a process with this number runs, whoever's it is. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
