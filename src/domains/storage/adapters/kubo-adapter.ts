import { z } from 'zod';
import { StorageFault, type StorageAdapter } from './adapter.ts';
import { callService, parseAnswer } from './service-call.ts';

interface KuboOptions {
  /** Of the RPC, such as http://127.0.0.1:5001 */
  readonly rpcUrl: string;
  readonly timeoutMs: number;
}

const service = 'Kubo';
const importedRoot = z.object({
  Root: z.object({ Cid: z.object({ '/': z.string() }), PinErrorMsg: z.string().optional() }),
});

/** Pins DAGs on a node of Kubo by its RPC (https://docs.ipfs.tech/reference/kubo/rpc/). */
export function makeKuboAdapter({ rpcUrl, timeoutMs }: KuboOptions): StorageAdapter {
  const base = `${rpcUrl.replace(/\/+$/, '').replace(/\/api\/v0$/, '')}/api/v0`;
  const call = (path: string, body?: FormData) =>
    callService({ service, url: `${base}/${path}`, method: 'POST', timeoutMs, ...(body ? { body } : {}) });

  return {
    name: 'kubo',
    async store(_dag, car, name) {
      const body = new FormData();
      body.append('file', new Blob([car], { type: 'application/vnd.ipld.car' }), `${name}.car`);
      // One JSON text on each line: the roots, and with `stats` other things.
      const lines = (await call('dag/import?pin-roots=true&stats=false', body)).split('\n');
      const roots = lines.flatMap((line) => {
        const read = importedRoot.safeParse(parseAnswer(line));
        return read.success ? [read.data.Root] : [];
      });
      const [root, second] = roots;
      if (!root || second) throw new StorageFault(`${service} gave an answer that is none`);
      if (root.PinErrorMsg) throw new StorageFault(`${service} did not pin: ${root.PinErrorMsg.slice(0, 200)}`);
      return { root: root.Cid['/'], reference: null };
    },
    async has(root) {
      try {
        await call(`pin/ls?arg=${encodeURIComponent(root)}&type=recursive`);
        return true;
      } catch (error) {
        // What is not pinned is answered as an error of the server, as all is that this call can say.
        if (error instanceof StorageFault && error.status === 500) return false;
        throw error;
      }
    },
    async remove(root) {
      if (await this.has(root, null)) await call(`pin/rm?arg=${encodeURIComponent(root)}&recursive=true`);
    },
  };
}
