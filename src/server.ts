import { readConfigOrExit } from './config.ts';
import { requireDatabaseUrl } from './require-database-url.ts';
import { startWeb } from './start-web.ts';
import { keepHeapSmall } from '#platform/heap-growth.ts';
import { endOnSignal } from '#platform/process-life.ts';

keepHeapSmall();
const config = readConfigOrExit();
try {
  const { port, logger, stop } = await startWeb(config, requireDatabaseUrl(config));
  endOnSignal({ logger, stop });
  logger.info({ port }, 'listening');
  process.send?.({ listening: port });
} catch (error) {
  process.stderr.write(
    `Cannot listen on port ${config.PORT}: ${error instanceof Error ? error.message : String(error)}\n`,
  );
  process.exit(1);
}
