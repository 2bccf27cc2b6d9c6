import { z } from 'zod';
import { defineRoute, type Route } from '#platform/route.ts';

/** Whether the process can do its work, and if not why. */
export interface Readiness {
  isReady: boolean;
  /** What is wrong; with `isReady` these only slow work down. */
  reasons: string[];
}

interface OperationsOptions {
  version: { version: string; commit: string; node: string };
  checkReadiness(): Promise<Readiness>;
  readMetrics(): Promise<{ contentType: string; text: string }>;
}

const tag = 'Operations';
const healthSchema = z
  .object({ service: z.string(), status: z.string(), timestamp: z.iso.datetime() })
  .meta({ id: 'Health' });

/** What operators and platforms ask a process. */
export function operationsRoutes({ version, checkReadiness, readMetrics }: OperationsOptions): Route[] {
  const health = () => ({ service: 'defarm-engines', status: 'healthy', timestamp: new Date().toISOString() });
  const alive = (path: string, summary: string) =>
    defineRoute({
      method: 'get',
      path,
      access: 'public',
      tag,
      summary,
      responses: { 200: { description: 'The process runs', schema: healthSchema } },
      handle: () => Promise.resolve({ status: 200, body: health() }),
    });
  return [
    alive('/health', 'Whether the process runs'),
    alive('/health/live', 'Whether the process runs; asks nothing outside'),
    defineRoute({
      method: 'get',
      path: '/health/ready',
      access: 'public',
      tag,
      summary: 'Whether the process can do its work',
      responses: {
        200: {
          description: 'Ready; reasons name what only slows work down',
          schema: z.object({ status: z.string(), reasons: z.array(z.string()) }),
        },
        503: { description: 'Not ready, with reasons' },
      },
      async handle() {
        const { isReady, reasons } = await checkReadiness();
        const status = isReady ? (reasons.length === 0 ? 'ready' : 'degraded') : 'not_ready';
        return { status: isReady ? 200 : 503, body: { status, reasons } };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/metrics',
      access: 'public',
      tag,
      summary: 'Numbers for Prometheus',
      responses: { 200: { description: 'Prometheus text format', contentType: 'text/plain' } },
      async handle() {
        const { contentType, text } = await readMetrics();
        return { status: 200, headers: { 'content-type': contentType }, raw: text };
      },
    }),
    defineRoute({
      method: 'get',
      path: '/version',
      access: 'public',
      tag,
      summary: 'What runs here',
      responses: {
        200: {
          description: 'Version and commit',
          schema: z.object({ version: z.string(), commit: z.string(), node: z.string() }),
        },
      },
      handle: () => Promise.resolve({ status: 200, body: version }),
    }),
  ];
}
