import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readConfigOrExit } from './config.ts';
import { makeWeb } from './container.ts';
import { requireDatabaseUrl } from './require-database-url.ts';
import { endOnSignal } from '#platform/process-life.ts';

const config = readConfigOrExit();
const { app, logger, close } = await makeWeb(config, requireDatabaseUrl(config));

const server = createServer(
  // Load balancers keep idle connections for about a minute; ours must outlive theirs.
  { keepAliveTimeout: 75_000, headersTimeout: 20_000, requestTimeout: 600_000, maxHeaderSize: 16_384 },
  app,
);

server.on('error', (error) => {
  logger.fatal({ err: error }, 'cannot listen');
  logger.flush();
  process.exit(1);
});

// "::" takes IPv4 too; where IPv6 is switched off, Node falls back to 0.0.0.0.
server.listen(config.PORT, () => {
  const { port } = server.address() as AddressInfo;
  logger.info({ port }, 'listening');
  process.send?.({ listening: port });
});

endOnSignal({
  logger,
  async stop() {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeIdleConnections();
    const busy = setTimeout(() => server.closeAllConnections(), 5000);
    await closed;
    clearTimeout(busy);
    await close();
  },
});
