import { setFlagsFromString } from 'node:v8';

/**
 * Lets the heap grow to twice of what is alive before it is collected. V8 chooses up to four times on a large machine,
 * which the work of a chunk or a large body fills with what is dead; twice costs no measurable time.
 */
export function keepHeapSmall(): void {
  setFlagsFromString('--heap-growing-percent=100');
}
