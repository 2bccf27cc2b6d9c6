import { Readable } from 'node:stream';
import { Pool, type Dispatcher } from 'undici';
import { identifierOf, ndjsonRecordBytes, recordText } from './cattle-records.ts';
import { quantile } from './statistics.ts';

/*
 * The client of the load sections as a process of its own, so that its event loop carries nothing but its requests. It
 * takes one task at a time over its channel and answers each with what it saw.
 */

interface CommonTask {
  readonly baseUrl: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly connections: number;
  /** The first of the animals that the records are about; each record has another. */
  readonly firstAnimal: number;
}

/** One small record per request, each connection sending the next as soon as it has its answer. */
export interface RecordsTask extends CommonTask {
  readonly kind: 'records';
  readonly path: string;
  readonly seconds: number;
  readonly bytes: number;
}

/** One large NDJSON receipt per connection, all at once, and again when all have their answers. */
export interface BodiesTask extends CommonTask {
  readonly kind: 'bodies';
  readonly rounds: number;
  readonly bytesMax: number;
}

export type LoadTask = RecordsTask | BodiesTask;

/** What came back for small records. Times are milliseconds. */
export interface RecordsOutcome {
  /** Answers by status, and failures by their code. */
  readonly answers: Readonly<Record<string, number>>;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** The least and most bytes that the body of an answer had. */
  readonly answerBytes: readonly [least: number, most: number];
  readonly nextAnimal: number;
}

/** What came back for large receipts. */
export interface BodiesOutcome {
  /** Answers by status, and failures by their code. */
  readonly answers: Readonly<Record<string, number>>;
  readonly recordsPerBody: number;
}

process.on('message', (task: LoadTask) => {
  const work: Promise<object> = task.kind === 'records' ? sendRecords(task) : sendBodies(task);
  work.then(
    (outcome) => process.send!({ outcome }),
    (error: unknown) =>
      process.send!({ fault: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  );
});
process.once('disconnect', () => process.exit());

function count(answers: Record<string, number>, key: string): void {
  answers[key] = (answers[key] ?? 0) + 1;
}

function codeOf(error: Error): string {
  return 'code' in error ? String(error.code) : error.name;
}

async function sendRecords(task: RecordsTask): Promise<RecordsOutcome> {
  const pool = new Pool(task.baseUrl, { connections: task.connections, pipelining: 1 });
  const answers: Record<string, number> = {};
  const latencies: number[] = [];
  const answerBytes: [number, number] = [Number.POSITIVE_INFINITY, 0];
  const makeBody = makeBodyMaker(task.bytes);
  let animal = task.firstAnimal;
  const options = {
    path: task.path,
    method: 'POST',
    headers: { ...task.headers, 'content-type': 'application/json' },
  } as const;

  const sendNext = (): Promise<void> => {
    const body = makeBody(animal);
    animal += 1;
    const sentAtMs = performance.now();
    let bytes = 0;
    let status = '';
    return new Promise((resolve) => {
      const handler: Dispatcher.DispatchHandler = {
        // Without this function undici refuses the handler.
        onRequestStart() {},
        onResponseStart(_controller, statusCode) {
          status = String(statusCode);
        },
        onResponseData(_controller, chunk) {
          bytes += chunk.length;
        },
        onResponseEnd() {
          latencies.push(performance.now() - sentAtMs);
          count(answers, status);
          answerBytes[0] = Math.min(answerBytes[0], bytes);
          answerBytes[1] = Math.max(answerBytes[1], bytes);
          resolve();
        },
        onResponseError(_controller, error) {
          count(answers, codeOf(error));
          resolve();
        },
      };
      pool.dispatch({ ...options, body }, handler);
    });
  };

  const startedAtMs = performance.now();
  const until = startedAtMs + task.seconds * 1000;
  const lane = async () => {
    while (performance.now() < until) await sendNext();
  };
  await Promise.all(Array.from({ length: task.connections }, lane));
  const seconds = (performance.now() - startedAtMs) / 1000;
  await pool.close();
  return {
    answers,
    seconds,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
    answerBytes,
    nextAnimal: animal,
  };
}

/** Copies one record and puts the identifiers of another animal in, which costs far less than writing it anew. */
function makeBodyMaker(bytes: number): (animal: number) => Buffer {
  const template = Buffer.from(recordText(0, false, bytes), 'latin1');
  const places = (['sisbov', 'chip'] as const).map((name) => ({
    name,
    at: template.indexOf(identifierOf(name, 0)),
  }));
  return (animal) => {
    const body = Buffer.from(template);
    for (const { name, at } of places) body.write(identifierOf(name, animal), at, 'latin1');
    return body;
  };
}

const linesPerChunk = 100;

async function sendBodies(task: BodiesTask): Promise<BodiesOutcome> {
  const recordsPerBody = Math.floor(task.bytesMax / (ndjsonRecordBytes + 1));
  const answers: Record<string, number> = {};
  let animal = task.firstAnimal;
  const makeRecord = makeBodyMaker(ndjsonRecordBytes);
  // Made as it is sent: so many bodies at once would not fit in this process either.
  async function* makeNdjson(first: number) {
    const lineFeed = Buffer.from('\n');
    for (let sent = 0; sent < recordsPerBody; sent += linesPerChunk) {
      const lines: Buffer[] = [];
      for (let at = sent; at < Math.min(sent + linesPerChunk, recordsPerBody); at += 1) {
        lines.push(makeRecord(first + at), lineFeed);
      }
      yield Buffer.concat(lines);
    }
  }
  for (let round = 0; round < task.rounds; round += 1) {
    const pool = new Pool(task.baseUrl, { connections: task.connections, pipelining: 1 });
    const sendOne = async () => {
      const first = animal;
      animal += recordsPerBody;
      try {
        const response = await pool.request({
          path: '/api/receipts',
          method: 'POST',
          headers: {
            ...task.headers,
            'content-type': 'application/x-ndjson',
            'content-length': String(recordsPerBody * (ndjsonRecordBytes + 1)),
          },
          body: Readable.from(makeNdjson(first)),
        });
        count(answers, String(response.statusCode));
        await response.body.dump();
      } catch (error) {
        count(answers, codeOf(error as Error));
      }
    };
    await Promise.all(Array.from({ length: task.connections }, sendOne));
    await pool.destroy();
  }
  return { answers, recordsPerBody };
}
