import type { Logger } from '#platform/logger.ts';
import type { OpenWorker, QueueBackend } from '#platform/queue/backend.ts';
import type { QueueWork } from '#platform/queue/definition.ts';

export interface JobObservation {
  queueName: string;
  outcome: 'completed' | 'failed';
  durationSeconds: number;
}

interface WorkerProcessOptions {
  backend: QueueBackend;
  logger: Logger;
  onJob?: (observation: JobObservation) => void;
}

/** Starts taking jobs of one queue. Payloads are checked against the queue's schema; each job leaves one log line. */
export function startQueueWorker(work: QueueWork, { backend, logger, onJob }: WorkerProcessOptions): OpenWorker {
  return backend.openWorker({
    name: work.queue.name,
    concurrency: work.concurrency,
    async process(job) {
      const startedAt = performance.now();
      const report = (outcome: JobObservation['outcome']) => {
        const durationSeconds = (performance.now() - startedAt) / 1000;
        onJob?.({ queueName: work.queue.name, outcome, durationSeconds });
        return Math.round(durationSeconds * 1000);
      };
      const parsed = work.queue.schema.safeParse(job.data);
      if (!parsed.success) {
        // A newer version may ring with data that this one does not know; its own workers will do the work.
        logger.warn({ queue: work.queue.name, job_id: job.id }, 'a job of an unknown shape was left alone');
        return { left_alone: 'the data of this job is not known to this version' };
      }
      const cause = requestsBehind(parsed.data);
      try {
        const result = await work.process(parsed.data);
        logger.info(
          { queue: work.queue.name, job_id: job.id, ...cause, ...result, duration_ms: report('completed') },
          'job completed',
        );
        return result;
      } catch (error) {
        logger.error(
          { queue: work.queue.name, job_id: job.id, ...cause, err: error, duration_ms: report('failed') },
          'job failed',
        );
        throw error;
      }
    },
  });
}

/** The requests that rang for a job, as its log line names them: whoever follows a request finds the job with its id. */
function requestsBehind(data: unknown): { request_id?: unknown; request_ids?: unknown } {
  if (typeof data !== 'object' || data === null) return {};
  return {
    ...('request_id' in data ? { request_id: data.request_id } : {}),
    ...('request_ids' in data ? { request_ids: data.request_ids } : {}),
  };
}
