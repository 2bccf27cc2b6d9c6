import { randomUUID } from 'node:crypto';
import { readJson, type ProblemDocument, type TestApplication } from './application.ts';

/** A local item as the API shows it. */
export interface LocalItem {
  local_id: string;
  status: string;
  merged_into: string | null;
  dfid: string | null;
  value_chain: string;
  country: string;
  year: number;
  occurred_at: string | null;
  identifiers: {
    identifier_type: string;
    value: string;
    is_canonical: boolean;
    normalized_type: string;
    normalized_value: string;
  }[];
  metadata: Record<string, unknown>;
  sources: string[];
  created_at: string;
  updated_at: string;
  decisions?: { kind: string; master_lid: string; merged_lid: string; merge_strategy: string; decided_by: string }[];
}

/** What any of the routes may answer. */
export interface Answer<Data> {
  status: number;
  body: { success: true; data: Data } & Record<string, unknown>;
  problem: ProblemDocument;
}

/** Calls the routes of local items with one key. */
export function makeLocalItemsClient(application: TestApplication, apiKey = application.apiKey) {
  const read = async <Data>(response: Response): Promise<Answer<Data>> => {
    const body = await readJson<Answer<Data>['body']>(response);
    return { status: response.status, body, problem: body as unknown as ProblemDocument };
  };
  const get = async <Data>(path: string) =>
    read<Data>(await application.fetch(`/api/items/${path}`, { headers: { 'x-api-key': apiKey } }));
  const post = async <Data>(path: string, body: unknown) =>
    read<Data>(
      await application.fetch(`/api/items/${path}`, {
        method: 'POST',
        body: typeof body === 'string' ? body : JSON.stringify(body),
        headers: { 'x-api-key': apiKey, 'content-type': 'application/json' },
      }),
    );
  return {
    get,
    post,
    /** Keeps a local item and returns its id. */
    async collect(identifiers: object[], metadata: object = {}, rest: object = {}): Promise<string> {
      const localId = randomUUID();
      const { status } = await post('local', { local_id: localId, identifiers, metadata, ...rest });
      if (status !== 201) throw new Error(`a local item was answered with ${status}`);
      return localId;
    },
    merge: (masterId: string, memberIds: string[], strategy = 'append') =>
      post<{ master_lid: string; merged_lids: string[]; status: string; master: LocalItem }>('local/merge', {
        master_lid: masterId,
        merge_lids: memberIds,
        merge_strategy: strategy,
      }),
    unmerge: (localId: string) =>
      post<{ local_id: string; status: string; master_lid: string; unmerged: LocalItem; master: LocalItem }>(
        'local/unmerge',
        { merged_lid: localId },
      ),
    async look(localId: string): Promise<LocalItem> {
      return (await get<LocalItem>(`local/${localId}`)).body.data;
    },
    async map(localId: string) {
      return (await get(`mapping/${localId}`)).body as unknown as { local_id: string; dfid?: string; status: string };
    },
  };
}

/** What a local item knows, without when it changed. */
export function knowledgeOf(item: LocalItem) {
  const { updated_at: _at, decisions: _decisions, ...knowledge } = item;
  return knowledge;
}
