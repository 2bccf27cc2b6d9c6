/**
 * Reads the body of an answer of somebody else.
 * @throws Error for one of more bytes than expected, which is not read to its end.
 */
export async function readResponse(response: Response, bytesMax: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of response.body ?? []) {
    sizeBytes += chunk.length;
    if (sizeBytes > bytesMax) throw new Error('gave an answer that is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
