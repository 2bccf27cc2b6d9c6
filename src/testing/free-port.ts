import { createServer } from 'node:net';

/** A port of 127.0.0.1 that nobody listens on. Another program may take it before the caller does. */
export async function findFreePort(): Promise<number> {
  const server = createServer();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject).listen(0, '127.0.0.1', resolve);
  await promise;
  const address = server.address();
  await new Promise((closed) => server.close(closed));
  if (address === null || typeof address === 'string') throw new Error('No port of 127.0.0.1 is free.');
  return address.port;
}
