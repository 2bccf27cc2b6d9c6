import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { isContentOf, linksOf, readCar, type Dag } from '../domains/storage/content-address.ts';

/** What goes wrong with one call. */
export type PinningFault =
  | 'lose the request'
  | 'lose the answer'
  | 'bad gateway'
  | 'too many requests'
  | 'refuse the key'
  | 'refuse the upload'
  | 'nonsense'
  | 'another root'
  | 'hang';

/** A service that pins DAGs over HTTP, which checks what it gets as the real one does. */
export interface PinningService {
  readonly url: string;
  /** The DAGs that it has, by their roots, each with every block that it received. */
  readonly pinned: ReadonlyMap<string, Dag>;
  /** How often it was asked. */
  readonly requests: readonly { readonly method: string; readonly path: string }[];
  /** Asked for each call what goes wrong with it. */
  misbehave: (request: { method: string; path: string }) => PinningFault | undefined;
  /** Loses a DAG. */
  lose(root: string): void;
  close(): Promise<void>;
}

interface Service {
  readonly pinned: Map<string, Dag>;
}

interface Call {
  readonly request: IncomingMessage;
  readonly url: URL;
  readonly body: Buffer;
  readonly fault: PinningFault | undefined;
}

interface Answer {
  readonly status: number;
  readonly headers?: Record<string, string>;
  readonly body: unknown;
}

const otherRoot = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku';

async function startService(respond: (service: Service, call: Call) => Promise<Answer>): Promise<PinningService> {
  const pinned = new Map<string, Dag>();
  const requests: { method: string; path: string }[] = [];
  const result = {
    url: '',
    pinned,
    requests,
    misbehave: (): PinningFault | undefined => undefined,
    lose: (root: string) => void pinned.delete(root),
    close: async () => {},
  };
  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const url = new URL(request.url!, 'http://service');
    const asked = { method: request.method!, path: url.pathname };
    requests.push(asked);
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const fault = (result.misbehave as PinningService['misbehave'])(asked);
    if (fault === 'lose the request') return void request.socket.destroy();
    if (fault === 'hang') return;
    const early = earlyAnswer(fault);
    const answer = early ?? (await respond({ pinned }, { request, url, body: Buffer.concat(chunks), fault }));
    if (fault === 'lose the answer') return void request.socket.destroy();
    response.writeHead(answer.status, { 'content-type': 'application/json', ...answer.headers });
    response.end(typeof answer.body === 'string' ? answer.body : JSON.stringify(answer.body));
  };
  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      response.writeHead(400, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ error: String(error) }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  result.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  result.close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return result;
}

function earlyAnswer(fault: PinningFault | undefined): Answer | undefined {
  if (fault === 'bad gateway') return { status: 502, body: '<html>Bad Gateway</html>' };
  if (fault === 'too many requests')
    return { status: 429, headers: { 'retry-after': '7' }, body: { error: 'slow down' } };
  if (fault === 'refuse the key') return { status: 401, body: { error: 'unauthorized' } };
  if (fault === 'refuse the upload') return { status: 400, body: { error: 'invalid car' } };
  if (fault === 'nonsense') return { status: 200, body: 'yes' };
  return undefined;
}

/** The CAR of an upload. @throws Error for one that the service does not take: no whole DAG of its own hashes. */
async function readUpload(form: FormData): Promise<Dag> {
  const file = form.get('file');
  if (!(file instanceof File)) throw new Error('there is no file');
  const dag = await readCar(Buffer.from(await file.arrayBuffer()));
  const known = new Map(dag.blocks.map((block) => [block.cid.toString(), block]));
  for (const block of dag.blocks) {
    if (!isContentOf(block.cid, block.bytes)) throw new Error(`${block.cid.toString()} is not the hash of its block`);
    for (const { cid } of linksOf(block))
      if (!known.has(cid.toString())) throw new Error(`${cid.toString()} is missing`);
  }
  if (!known.has(dag.root.toString())) throw new Error('the root is missing');
  return dag;
}

function readForm({ request, body }: Call): Promise<FormData> {
  return new Response(new Uint8Array(body), {
    headers: { 'content-type': request.headers['content-type'] ?? '' },
  }).formData();
}

/** Pinata's API of version 3 (https://docs.pinata.cloud/api-reference), uploads and files under one URL. */
export function startPinata(jwt: string): Promise<PinningService> {
  return startService(async ({ pinned }, call) => {
    const { request, url, fault } = call;
    if (request.headers.authorization !== `Bearer ${jwt}`) return { status: 401, body: { error: 'unauthorized' } };
    const idOf = (root: string) => `file-${root.slice(-12)}`;
    if (request.method === 'POST' && url.pathname === '/files') {
      const form = await readForm(call);
      if (form.get('network') !== 'public' || form.get('car') !== 'true')
        return { status: 400, body: { error: 'no car' } };
      const dag = await readUpload(form);
      const root = dag.root.toString();
      pinned.set(root, dag);
      const cid = fault === 'another root' ? otherRoot : root;
      return { status: 200, body: { data: { id: idOf(root), cid, name: form.get('name'), size: call.body.length } } };
    }
    if (request.method === 'GET' && url.pathname === '/files/public') {
      const root = url.searchParams.get('cid') ?? '';
      const files = pinned.has(root) ? [{ id: idOf(root), cid: root }] : [];
      return { status: 200, body: { data: { files, next_page_token: '' } } };
    }
    const id = /^\/files\/public\/(.+)$/.exec(url.pathname)?.[1];
    const root = [...pinned.keys()].find((each) => idOf(each) === id);
    if (request.method === 'DELETE' && root !== undefined) {
      pinned.delete(root);
      return { status: 200, body: { data: null } };
    }
    return { status: 404, body: { error: 'not found' } };
  });
}

/** The RPC of a node of Kubo (https://docs.ipfs.tech/reference/kubo/rpc/). */
export function startKubo(): Promise<PinningService> {
  const failure = (Message: string) => ({ status: 500, body: { Message, Code: 0, Type: 'error' } });
  return startService(async ({ pinned }, call) => {
    const { request, url, fault } = call;
    if (request.method !== 'POST') return { status: 405, body: '405 - Method Not Allowed' };
    const root = url.searchParams.get('arg') ?? '';
    if (url.pathname === '/api/v0/dag/import') {
      if (url.searchParams.get('pin-roots') !== 'true') return failure('roots are not pinned');
      const dag = await readUpload(await readForm(call));
      pinned.set(dag.root.toString(), dag);
      const cid = fault === 'another root' ? otherRoot : dag.root.toString();
      return { status: 200, body: `${JSON.stringify({ Root: { Cid: { '/': cid }, PinErrorMsg: '' } })}\n` };
    }
    if (url.pathname === '/api/v0/pin/ls')
      return pinned.has(root)
        ? { status: 200, body: { Keys: { [root]: { Type: 'recursive' } } } }
        : failure(`path '${root}' is not pinned`);
    if (url.pathname === '/api/v0/pin/rm') {
      if (!pinned.delete(root)) return failure('not pinned or pinned indirectly');
      return { status: 200, body: { Pins: [root] } };
    }
    return { status: 404, body: '404 page not found' };
  });
}
