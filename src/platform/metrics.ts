import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** The numbers that a process tells Prometheus. Names are `defarm_<thing>_<unit>`. */
export function makeMetrics() {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  return {
    registry,
    requestSeconds: new Histogram({
      name: 'defarm_http_request_duration_seconds',
      help: 'Time from the first byte of a request to the end of its answer.',
      labelNames: ['method', 'route', 'status'],
      buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30],
      registers,
    }),
    jobSeconds: new Histogram({
      name: 'defarm_job_duration_seconds',
      help: 'Time that a job took.',
      labelNames: ['queue', 'outcome'],
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60],
      registers,
    }),
    groupRows: new Histogram({
      name: 'defarm_group_commit_receipts',
      help: 'Receipts that were stored in one statement.',
      buckets: [1, 2, 5, 10, 20, 50, 100, 200, 500],
      registers,
    }),
    records: new Counter({
      name: 'defarm_records_total',
      help: 'Records settled, by what became of them.',
      labelNames: ['status', 'outcome'],
      registers,
    }),
    missedRings: new Counter({
      name: 'defarm_missed_rings_total',
      help: 'Doorbells that were not heard; the sweep makes up for them.',
      labelNames: ['queue'],
      registers,
    }),
    oldestUnsettledSeconds: new Gauge({
      name: 'defarm_oldest_unsettled_seconds',
      help: 'Age of the oldest row that a stage has not settled; 0 when there is none.',
      labelNames: ['stage'],
      registers,
    }),
    queueJobs: new Gauge({
      name: 'defarm_queue_jobs',
      help: 'Jobs in a queue, by state.',
      labelNames: ['queue', 'state'],
      registers,
    }),
    poolConnections: new Gauge({
      name: 'defarm_database_connections',
      help: 'Connections of this process to Postgres; waiting counts those who wait for one.',
      labelNames: ['state'],
      registers,
    }),
    bufferBytes: new Gauge({
      name: 'defarm_reception_buffer_bytes',
      help: 'Bytes of bodies that this process holds in memory.',
      registers,
    }),
  };
}

export type Metrics = ReturnType<typeof makeMetrics>;
