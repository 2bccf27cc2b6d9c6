import type { z } from 'zod';

/** What endpoints are told of, as they choose it. Each domain lists its own. */
export interface MessageType {
  readonly name: string;
  readonly description: string;
  /** What is told, and its shortest form. */
  readonly data: z.ZodType;
  readonly thinData: z.ZodType;
}
