import { connect, createServer, type NetConnectOpts, type Socket } from 'node:net';

/** A port of 127.0.0.1 behind which a server stands, until the test cuts the way to it. */
export interface SeverableLink {
  readonly port: number;
  /** Breaks all connections and refuses new ones. */
  sever(): Promise<void>;
  /** Swallows all that is sent, in both directions, without breaking a connection; new ones are taken and get no answer. */
  freeze(): void;
  /** Makes the server reachable again, and lets frozen connections go on. */
  restore(): Promise<void>;
  close(): Promise<void>;
}

/** Opens a link to a server. With `isSevered` it begins without a way to it, on a port that stays the same. */
export async function openLink(target: NetConnectOpts, isSevered = false): Promise<SeverableLink> {
  const sockets = new Set<Socket>();
  let isFrozen = false;
  const join = (near: Socket) => {
    const far = connect(target);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      if (isFrozen) from.pause();
      from.on('data', (bytes) => {
        if (!to.write(bytes)) from.pause();
      });
      from.on('drain', () => {
        if (!isFrozen) to.resume();
      });
      from.on('error', () => to.destroy());
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
    }
    if (isFrozen) for (const socket of [near, far]) socket.pause();
  };
  const server = createServer(join);
  const listen = (port: number) =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject).listen(port, '127.0.0.1', resolve);
    });
  await listen(0);
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the link has no port');
  const { port } = address;
  const sever = async () => {
    const closed = server.listening ? new Promise((resolve) => server.close(resolve)) : undefined;
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  if (isSevered) await sever();
  return {
    port,
    sever,
    freeze() {
      isFrozen = true;
      for (const socket of sockets) socket.pause();
    },
    async restore() {
      isFrozen = false;
      for (const socket of sockets) socket.resume();
      if (!server.listening) await listen(port);
    },
    close: sever,
  };
}

/** Opens a link to the Postgres of a URL whose host is the folder of a Unix socket, and gives the URL that leads through it. */
export async function openPostgresLink(url: string): Promise<{ link: SeverableLink; url: string }> {
  const through = new URL(url);
  const link = await openLink({ path: `${decodeURIComponent(through.hostname)}/.s.PGSQL.${through.port}` });
  through.host = `127.0.0.1:${link.port}`;
  return { link, url: through.href };
}
