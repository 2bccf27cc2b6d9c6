/** The cursor before all workspaces. */
export const firstWorkspace = '00000000-0000-0000-0000-000000000000';

/** Begins after the workspace that was served last, and from the first one again when there is none after it. */
export async function claimWithWrap<Row>(claim: (cursor: string) => Promise<Row[]>, cursor: string): Promise<Row[]> {
  const rows = await claim(cursor);
  return rows.length > 0 || cursor === firstWorkspace ? rows : claim(firstWorkspace);
}
