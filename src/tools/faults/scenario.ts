import type { Cluster, ClusterOptions } from './cluster.ts';
import type { Load } from './load.ts';
import { waitFor } from './waiting.ts';

/** What a scenario did, for its line and for the comparison. */
export interface Disturbed {
  /** In words, with figures. */
  readonly done: string;
  /** How often work may have been interrupted: each time may cost a piece of work one more try. */
  readonly disturbances: number;
}

/** A fault that is put to a cluster under load. */
export interface Scenario {
  readonly name: string;
  /** Whether it belongs to the short form. */
  readonly isShort: boolean;
  readonly options?: Partial<ClusterOptions>;
  /** Milliseconds after which what is not settled counts as stuck; a minute unless the product's own pauses are longer. */
  readonly settleTimeoutMs?: number;
  /** Brings the cluster up, where that is part of the fault. */
  start?(cluster: Cluster): Promise<void>;
  /** Puts the fault to it and takes it away again. */
  disturb(context: ScenarioContext): Promise<Disturbed>;
}

const progressTimeoutMs = 60_000;
/** A lost or stuck job costs seconds, and a frozen worker the 15 s after which Postgres ends its sessions; never minutes. */
const restTimeoutMs = 35_000;

/** What a scenario works with. */
export class ScenarioContext {
  readonly cluster: Cluster;
  readonly load: Load;
  /** Whether the short form runs, which repeats less and waits less. */
  readonly isShort: boolean;
  /** What the scenario itself found wrong. */
  readonly complaints: string[] = [];

  constructor(cluster: Cluster, load: Load, isShort: boolean) {
    this.cluster = cluster;
    this.load = load;
    this.isShort = isShort;
  }

  /** One figure for the short form, one for the full. */
  repeat(short: number, full: number): number {
    return this.isShort ? short : full;
  }

  check(isTrue: boolean, complaint: string): void {
    if (!isTrue) this.complaints.push(complaint);
  }

  /** Waits until so many more receipts are acknowledged. */
  async waitForAcknowledged(more: number): Promise<void> {
    const target = this.load.acknowledged.length + more;
    await waitFor(
      `acknowledgement of ${more} more receipts`,
      progressTimeoutMs,
      () => this.load.acknowledged.length >= target,
    );
  }

  /** Waits until so many more receipts are settled, by whomever. */
  async waitForSettled(more: number): Promise<void> {
    const target = (await this.cluster.countSettled()) + more;
    await waitFor(
      `settlement of ${more} more receipts`,
      progressTimeoutMs,
      async () => (await this.cluster.countSettled()) >= target,
    );
  }

  /** With the load stopped: waits until the product has settled everything by itself. Returns the seconds, as a text. */
  async waitForRest(): Promise<string> {
    const startedAt = performance.now();
    await waitFor(
      'settlement of all receipts at rest',
      restTimeoutMs,
      async () => (await this.cluster.countUnsettled()) === 0,
    );
    return `${((performance.now() - startedAt) / 1000).toFixed(1)} s`;
  }

  /** Lets the product catch up before the next fault. */
  async catchUp(): Promise<void> {
    await this.load.stop();
    await waitFor(
      'settlement of all receipts',
      progressTimeoutMs,
      async () => (await this.cluster.countUnsettled()) === 0,
    );
    this.load.start();
  }
}
