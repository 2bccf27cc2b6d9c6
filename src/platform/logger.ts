import { pino, type Logger } from 'pino';

export type { Logger };

/**
 * One JSON line per event on standard output, written asynchronously: a request never waits for the log. Credentials that
 * stand in a logged header or URL are cut out.
 */
export function makeLogger(options: { level: string; name: string }): Logger {
  return pino(
    {
      level: options.level,
      base: { service: options.name, pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: {
        paths: [
          'headers.authorization',
          'headers["x-api-key"]',
          'headers["x-admin-key"]',
          'headers["x-admin-key"]',
          'headers.cookie',
          '*.password',
          '*.api_key',
        ],
        censor: '[secret]',
      },
    },
    pino.destination({ dest: 1, sync: false, minLength: 4096 }),
  );
}

/** Writes buffered lines out every second, so that a quiet process shows its last lines. Returns a function that stops it. */
export function flushLogPeriodically(logger: Logger): () => void {
  const timer = setInterval(() => logger.flush(), 1000);
  timer.unref();
  return () => {
    clearInterval(timer);
    logger.flush();
  };
}
