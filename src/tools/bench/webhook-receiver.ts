import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/*
 * The receiver of the bench, a process of its own: answers 204 to everything once it has read it, a while later to paths that
 * begin with /slow, and nothing at all to those that begin with /hang. Ends with its channel.
 */

const slowMs = 100;

const server = createServer((request, response) => {
  request.resume();
  request.on('end', () => {
    const url = request.url!;
    if (url.startsWith('/slow')) setTimeout(() => response.writeHead(204).end(), slowMs);
    else if (!url.startsWith('/hang')) response.writeHead(204).end();
  });
});
server.listen(0, '0.0.0.0', () => process.send!({ port: (server.address() as AddressInfo).port }));
process.on('disconnect', () => process.exit());
