import { request } from 'undici';
import { withSystem, type BenchContext } from './context.ts';
import { createDatabase, dropDatabase, withConnection } from './databases.ts';
import { startLoadProcess } from './load-process.ts';
import { measure } from './process-watch.ts';
import { waitUntilSettled } from './receipt-run.ts';
import {
  BenchFault,
  formatTable,
  formatTargets,
  showCount,
  showCpu,
  type Run,
  type SectionReport,
  type Target,
} from './report.ts';
import type { ProcessMemory } from './system.ts';
import { median } from './statistics.ts';
import { verifyRows } from './verify-items.ts';

const database = 'bench-memory';
const limitMegabytes = 300;
const bytesPerMegabyte = 1_000_000;

/** The largest receipts from many clients at once. What it does to memory is told with that of all sections. */
export async function benchMemory(context: BenchContext): Promise<SectionReport> {
  const { servers, sizes, workers } = context;
  const { clients, rounds, bodyBytes } = sizes.memory;
  context.say(`memory: ${rounds} rounds of ${clients} clients`);
  await servers.redis.flushall();
  await createDatabase(servers, database);
  const { run, answers } = await withConnection(servers, database, (client) =>
    withSystem(context, { section: 'memory', database, workers }, async (system) => {
      const load = startLoadProcess();
      try {
        const processes = [...system.processes.filter(({ name }) => name !== 'client'), load.process];
        const task = { baseUrl: system.baseUrl, headers: system.headers, connections: clients, firstAnimal: 0 };
        const { result, wallSeconds, cpuSeconds } = await measure(processes, async () => {
          const outcome = await load.sendBodies({ ...task, rounds, bytesMax: bodyBytes });
          await waitUntilSettled(system, client);
          return outcome;
        });
        system.checkAlive();
        const { statusCode, body } = await request(`${system.baseUrl}/health/ready`);
        await body.dump();
        if (statusCode !== 200) throw new BenchFault(`the web process answers ${statusCode} after the large receipts`);
        const accepted = result.answers['202'] ?? 0;
        const entries = accepted * result.recordsPerBody;
        await verifyRows(client, { entries, items: entries });
        const figures = { accepted, records: entries };
        const measured: Run = { variant: 'large receipts', repeat: 1, figures, wallSeconds, cpuSeconds };
        return { run: measured, answers: result.answers };
      } finally {
        load.stop();
      }
    }),
  );
  await dropDatabase(servers, database);
  return {
    name: 'memory',
    title: `4. Receipts of ${showCount(bodyBytes)} bytes, ${clients} clients at once, ${rounds} rounds`,
    conditions: [
      'Each client sends once a round, without trying again; codes that are no number are connections that were closed early.',
      'What was accepted is worked to its end and counted. Memory follows below.',
    ],
    columns: ['answer', 'requests', 'CPU seconds until all was settled'],
    rows: Object.entries(answers).map(([answer, count], at) => [
      answer,
      showCount(count),
      at === 0 ? showCpu(run.cpuSeconds) : '',
    ]),
    targets: [],
    runs: [
      {
        ...run,
        figures: {
          ...run.figures,
          ...Object.fromEntries(Object.entries(answers).map(([code, count]) => [`answered_${code}`, count])),
        },
      },
    ],
  };
}

/** The memory of the product's processes over all sections that ran, with its target. */
export function reportMemory(memory: readonly ProcessMemory[]): { text: string; targets: readonly Target[] } {
  const groups = Map.groupBy(memory, ({ section, process }) => `${section} ${process}`);
  const rows = [...groups.values()].map((of) => [
    `${of[0]!.section}, ${of[0]!.process}`,
    megabytes(median(of.map((process) => process.median))),
    megabytes(Math.max(...of.map((process) => process.peak))),
  ]);
  const peak = Math.max(...memory.map((process) => process.peak)) / bytesPerMegabyte;
  const target: Target = {
    wanted: `every process of the product under ${limitMegabytes} MB throughout`,
    figure: `${showCount(peak)} MB at most`,
    verdict: peak < limitMegabytes ? 'met' : 'missed',
  };
  const table = formatTable(['resident memory', 'median MB', 'peak MB'], rows);
  return {
    text: `\nMemory of each process in all sections\n\n${table}\n\n${formatTargets([target])}`,
    targets: [target],
  };
}

function megabytes(bytes: number): string {
  return showCount(bytes / bytesPerMegabyte);
}
