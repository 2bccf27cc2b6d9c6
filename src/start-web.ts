import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Config } from './config.ts';
import { bootstrapWhenMigrated } from './prepare-database.ts';
import { makeWeb } from './web-container.ts';
import { answerUnreadable } from './api/unreadable-request.ts';
import type { Logger } from '#platform/logger.ts';
import type { Route } from '#platform/route.ts';

/** A web process at work, or one like it inside a test. */
export interface RunningWeb {
  readonly port: number;
  /** Every row of the route tables that it serves. */
  readonly routes: readonly Route[];
  readonly logger: Logger;
  /** Takes no more requests, answers those that are under way, keeps what was promised and closes everything. */
  stop(): Promise<void>;
}

/** Requests that are still under way after this long are cut off, so that a stop ends in time. */
const answerUnderWayMs = 5000;
const idleCheckMs = 50;

/**
 * Listens on the port of the configuration (0: any that is free) and answers requests.
 * @param host the only address to listen on; without it all of them.
 * @throws Error of `listen`, such as EADDRINUSE, after closing what was opened.
 */
export async function startWeb(config: Config, databaseUrl: string, host?: string): Promise<RunningWeb> {
  const { app, routes, logger, endWaiting, close } = await makeWeb(config, databaseUrl);
  const server = createServer(
    // Load balancers keep idle connections for about a minute; ours must outlive theirs.
    { keepAliveTimeout: 75_000, headersTimeout: 20_000, requestTimeout: 600_000, maxHeaderSize: 16_384 },
    app,
  );
  server.on('clientError', (error, socket) => answerUnreadable(error, socket));
  const { promise: listening, resolve, reject } = Promise.withResolvers<void>();
  // "::" takes IPv4 too; where IPv6 is switched off, Node falls back to 0.0.0.0.
  server.once('error', reject).listen({ port: config.PORT, host }, resolve);
  try {
    await listening;
  } catch (error) {
    await close();
    throw error;
  }
  server.on('error', (error) => logger.error({ err: error }, 'listening met an error'));
  const stopping = new AbortController();
  const bootstrapped = bootstrapWhenMigrated(config, databaseUrl, stopping.signal);
  return {
    port: (server.address() as AddressInfo).port,
    routes,
    logger,
    async stop() {
      stopping.abort();
      await bootstrapped;
      // A client that sends one request after the other would otherwise keep its connection, and us, busy.
      server.prependListener('request', (_request, response) => response.setHeader('connection', 'close'));
      const closed = new Promise((done) => server.close(done));
      endWaiting();
      const idle = setInterval(() => server.closeIdleConnections(), idleCheckMs);
      const busy = setTimeout(() => server.closeAllConnections(), answerUnderWayMs);
      await closed;
      clearInterval(idle);
      clearTimeout(busy);
      await close();
    },
  };
}
