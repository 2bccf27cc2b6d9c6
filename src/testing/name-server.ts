import { createSocket } from 'node:dgram';

/** A name server over UDP (RFC 1035), for names that are to lead somewhere in a test. */
export interface NameServer {
  /** As `Resolver.setServers` takes it. */
  readonly address: string;
  /** Addresses of IPv4 by name; asked for each question. */
  addressesOf: (name: string) => readonly string[];
  close(): Promise<void>;
}

const typeA = 1;

/** Starts one that knows only what `addressesOf` says. */
export async function startNameServer(): Promise<NameServer> {
  const socket = createSocket('udp4');
  socket.on('message', (question, from) => {
    const labels: string[] = [];
    let at = 12;
    while (question[at]! > 0) {
      labels.push(question.toString('latin1', at + 1, at + 1 + question[at]!));
      at += 1 + question[at]!;
    }
    const end = at + 5;
    const isAddress = question.readUInt16BE(at + 1) === typeA;
    const addresses = isAddress ? server.addressesOf(labels.join('.')) : [];
    const header = Buffer.from(question.subarray(0, 12));
    header.writeUInt16BE(0x8180, 2);
    header.writeUInt16BE(addresses.length, 6);
    header.writeUInt32BE(0, 8);
    const answers = addresses.map((address) =>
      Buffer.concat([Buffer.from('c00c00010001000000000004', 'hex'), Buffer.from(address.split('.').map(Number))]),
    );
    socket.send(Buffer.concat([header, question.subarray(12, end), ...answers]), from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const server: NameServer = {
    address: `127.0.0.1:${socket.address().port}`,
    addressesOf: () => [],
    close: () => new Promise((resolve) => void socket.close(() => resolve())),
  };
  return server;
}
