import { z } from 'zod';

interface Catalogue {
  readonly event_types: readonly { readonly name: string; readonly schema: object; readonly thin_schema: object }[];
  readonly others: { readonly schema: object; readonly thin_schema: object };
}

/** Checks bodies of messages against the schemas of `GET /api/webhooks/event-types`: what these do not name is a fault as well. */
export function makeSchemaCheck(catalogue: Catalogue) {
  return (body: unknown, payload: 'full' | 'thin' = 'full'): string[] => {
    const { type } = body as { type: string };
    const found = catalogue.event_types.find(({ name }) => name === type) ?? catalogue.others;
    const schema = closed(payload === 'full' ? found.schema : found.thin_schema);
    const result = z.fromJSONSchema(schema as z.core.JSONSchema.JSONSchema).safeParse(body);
    return result.success ? [] : [`${type}: ${z.prettifyError(result.error)}`];
  };
}

/** The same schema for objects that have no members that it does not name, unless it says that they may. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== 'object' || schema === null) return schema;
  const members = Object.fromEntries(Object.entries(schema).map(([name, member]) => [name, closed(member)]));
  return 'properties' in members ? { additionalProperties: false, ...members } : members;
}
