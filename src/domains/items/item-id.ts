/** The UUIDv8 (RFC 9562, free for applications) that spells an item number: the number is its last 48 bits. */
const prefix = 'defa0000-0000-8000-8000-';

/** The id of an item as the API shows it. Number, id and DFID say the same, so none is stored beside another. */
export function itemIdOf(itemNumber: number): string {
  return prefix + itemNumber.toString(16).padStart(12, '0');
}

/** The number in an item's id; undefined for any other text. */
export function itemNumberOfId(id: string): number | undefined {
  return /^defa0000-0000-8000-8000-[0-9a-f]{12}$/i.test(id) ? Number.parseInt(id.slice(prefix.length), 16) : undefined;
}
