import { expect, test } from 'vitest';
import { checkIfMatch, entityTagOf } from './entity-tag.ts';

const current = entityTagOf(3);

test.each([undefined, '*', ' * ', '"3"', 'W/"3"', '"2", "3"', '"2",W/"3" , "4"'])(
  'If-Match %j lets a change of version 3 pass',
  (header) => {
    expect(() => checkIfMatch(header === undefined ? {} : { 'if-match': header }, current)).not.toThrow();
  },
);

test.each(['"2"', '""', 'W/"33"', '"2", "4"'])('If-Match %j is a failed precondition for version 3', (header) => {
  expect(() => checkIfMatch({ 'if-match': header }, current)).toThrow(
    expect.objectContaining({ code: 'precondition_failed', status: 412, headers: { etag: '"3"' } }),
  );
});

test.each(['3', '', '"3', '"3" "4"', '*, "3"', 'w/"3"', '"é"'])('If-Match %j is no list of entity tags', (header) => {
  expect(() => checkIfMatch({ 'if-match': header }, current)).toThrow(
    expect.objectContaining({ code: 'invalid_header', status: 400 }),
  );
});
