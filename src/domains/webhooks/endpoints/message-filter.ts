import type { MessageFilter } from './endpoints.schema.ts';

/**
 * A filter as Postgres asks for it: a predicate in SQL/JSON path (ISO/IEC 19075-6), which looks into every element of a list;
 * null for a filter that everything passes.
 */
export function filterPath(filter: MessageFilter): string | null {
  return filter.length === 0 ? null : filter.map(predicateOf).join(' && ');
}

function predicateOf({ pointer, operator, value }: MessageFilter[number]): string {
  const place = `$${pointer
    .slice(1)
    .split('/')
    .map((token) => `.${JSON.stringify(token.replaceAll('~1', '/').replaceAll('~0', '~'))}`)
    .join('')}`;
  const some = (condition: string) => `exists(${place} ? (${condition}))`;
  const literal = JSON.stringify(value);
  switch (operator) {
    case 'equals':
      return some(`@ == ${literal}`);
    case 'not_equals':
      return `!(${some(`@ == ${literal}`)})`;
    case 'one_of':
      return some((Array.isArray(value) ? value : [value]).map((each) => `@ == ${JSON.stringify(each)}`).join(' || '));
    case 'at_least':
      return some(`@ >= ${literal}`);
    case 'at_most':
      return some(`@ <= ${literal}`);
    case 'starts_with':
      return some(`@ starts with ${literal}`);
    case 'exists':
      return value === true ? `exists(${place})` : `!(exists(${place}))`;
  }
}
