import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readConfigOrExit } from '../../config.ts';
import { makeWeb } from '../../web-container.ts';
import { requireDatabaseUrl } from '../../require-database-url.ts';
import { keepHeapSmall } from '#platform/heap-growth.ts';
import { endOnSignal } from '#platform/process-life.ts';
import { answerRoute, comparisonPaths, makeNaiveApp } from './comparison-routes.ts';

/*
 * The web process of the bench: the product's app, in it the route that only answers, and beside it the naive app.
 */

keepHeapSmall();
const config = readConfigOrExit();
const databaseUrl = requireDatabaseUrl(config);
const naive = makeNaiveApp({ databaseUrl, redisUrl: config.REDIS_URL! });
const { app, logger, close } = await makeWeb(config, databaseUrl, [answerRoute]);

const server = createServer({ keepAliveTimeout: 75_000 }, (request, response) =>
  request.url === comparisonPaths.naive ? naive.app(request, response) : app(request, response),
);
server.listen(config.PORT, '127.0.0.1', () => {
  process.send?.({ listening: (server.address() as AddressInfo).port });
});

endOnSignal({
  logger,
  async stop() {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
    await naive.close();
    await close();
  },
});
