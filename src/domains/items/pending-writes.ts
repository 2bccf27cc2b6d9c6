/** Statements that were sent and whose answers nobody needs before the end. */
export class PendingWrites {
  readonly #writes: Promise<unknown>[] = [];

  add(...writes: Promise<unknown>[]): void {
    for (const write of writes) {
      // The failure is reported by all(); without a handler from the start it would end the process.
      write.catch(() => {});
      this.#writes.push(write);
    }
  }

  /** Fails with the first failure in the order of the statements: those after it only tell that one came before. */
  all(): Promise<unknown> {
    const waitForEach = async () => {
      for (const write of this.#writes) await write;
    };
    const all = waitForEach();
    all.catch(() => {});
    return all;
  }
}
