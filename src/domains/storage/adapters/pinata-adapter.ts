import { PinataSDK, type FileListResponse } from 'pinata';
import { z } from 'zod';
import { StorageFault, type StorageAdapter } from './adapter.ts';
import { callService, faultOf, parseAnswer } from './service-call.ts';

interface PinataOptions {
  readonly jwt: string;
  /** Such as https://api.pinata.cloud/v3 */
  readonly apiUrl: string;
  /** Such as https://uploads.pinata.cloud/v3 */
  readonly uploadUrl: string;
  readonly timeoutMs: number;
  /**
   * Takes one of the requests that the plan allows, for all processes together.
   * @returns milliseconds to wait for the next one when there is none left.
   */
  takeRequest(): Promise<number | undefined>;
}

const service = 'Pinata';
const uploadAnswer = z.object({ data: z.object({ id: z.string(), cid: z.string() }) });

/**
 * Pins DAGs at Pinata (https://docs.pinata.cloud/api-reference). The SDK lists files; uploads and deletions are calls of our
 * own, since in version 2.5 those of the SDK take no deadline, hide `Retry-After` and report failures as results.
 */
export function makePinataAdapter({ jwt, apiUrl, uploadUrl, timeoutMs, takeRequest }: PinataOptions): StorageAdapter {
  const sdk = new PinataSDK({ pinataJwt: jwt, endpointUrl: apiUrl, uploadUrl });
  const headers = { authorization: `Bearer ${jwt}` };

  const allow = async () => {
    const waitMs = await takeRequest();
    if (waitMs !== undefined)
      throw new StorageFault('the requests of the plan are used up for the moment', {
        status: 429,
        retryAfterMs: waitMs,
      });
  };

  const find = async (root: string): Promise<{ id: string; cid: string }[]> => {
    await allow();
    const listing: Promise<FileListResponse> = sdk.files.public
      .list()
      .cid(root)
      .limit(10)
      .then((answer) => answer);
    const { files } = await withDeadline(listing, timeoutMs);
    return files.filter(({ cid }) => cid === root);
  };

  return {
    name: 'pinata',
    async store(_dag, car, name) {
      await allow();
      const body = new FormData();
      body.append('file', new Blob([car], { type: 'application/vnd.ipld.car' }), `${name}.car`);
      body.append('network', 'public');
      body.append('name', name);
      body.append('car', 'true');
      const call = { service, url: `${uploadUrl}/files`, method: 'POST', headers, body, timeoutMs } as const;
      const answer = uploadAnswer.safeParse(parseAnswer(await callService(call)));
      if (!answer.success) throw new StorageFault(`${service} gave an answer that is none`);
      return { root: answer.data.data.cid, reference: answer.data.data.id };
    },
    has: async (root) => (await find(root)).length > 0,
    async remove(root) {
      for (const { id } of await find(root)) {
        await allow();
        const url = `${apiUrl}/files/public/${encodeURIComponent(id)}`;
        await callService({ service, url, method: 'DELETE', headers, timeoutMs });
      }
    },
  };
}

/** The SDK cannot be told to stop; what it answers later is not waited for. */
async function withDeadline<Answer>(answer: Promise<Answer>, timeoutMs: number): Promise<Answer> {
  let timer: NodeJS.Timeout | undefined;
  const deadline = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new StorageFault(`${service} did not answer within ${timeoutMs} ms`));
    }, timeoutMs);
  });
  try {
    return await Promise.race([answer, deadline]);
  } catch (error) {
    throw error instanceof StorageFault ? error : sdkFault(error);
  } finally {
    clearTimeout(timer);
  }
}

function sdkFault(error: unknown): StorageFault {
  const status = error instanceof Error && 'statusCode' in error ? error.statusCode : undefined;
  if (typeof status === 'number') return faultOf(service, status, null);
  return new StorageFault(`${service} cannot be reached`, { cause: error });
}
