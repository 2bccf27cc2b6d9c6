import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/*
 * The receiver of the bench, a process of its own: answers 204 to everything once it has read it, and nothing at all to what
 * comes to paths that begin with /hang. Ends with its channel.
 */

const server = createServer((request, response) => {
  request.resume();
  request.on('end', () => {
    if (!request.url!.startsWith('/hang')) response.writeHead(204).end();
  });
});
server.listen(0, '0.0.0.0', () => process.send!({ port: (server.address() as AddressInfo).port }));
process.on('disconnect', () => process.exit());
