import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readConfigOrExit } from '../../config.ts';
import { makeWeb } from '../../web-container.ts';
import { requireDatabaseUrl } from '../../require-database-url.ts';
import { endOnSignal } from '#platform/process-life.ts';
import { makeComparisonRoutes } from './comparison-routes.ts';

/*
 * The web process of the bench: the product's app, and in it the routes that it is compared with, so that all of them
 * have the same server, body reader, authentication, logging and metrics.
 */

const config = readConfigOrExit();
const databaseUrl = requireDatabaseUrl(config);
const comparison = makeComparisonRoutes({ databaseUrl, redisUrl: config.REDIS_URL! });
const { app, logger, close } = await makeWeb(config, databaseUrl, comparison.routes);

const server = createServer({ keepAliveTimeout: 75_000 }, app);
server.listen(config.PORT, '127.0.0.1', () => {
  process.send?.({ listening: (server.address() as AddressInfo).port });
});

endOnSignal({
  logger,
  async stop() {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
    await comparison.close();
    await close();
  },
});
