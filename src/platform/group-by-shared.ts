/**
 * Members that share something, directly or through others, as lists: groups in the order of their first members, members
 * in their own. Union-find with path compression, so the cost is nearly that of looking at everything once.
 * @param sharedOf what a member has that others may have too.
 */
export function groupByShared<Member>(
  members: readonly Member[],
  sharedOf: (member: Member) => readonly (string | number)[],
): Member[][] {
  const parents = members.map((_member, index) => index);
  const rootOf = (index: number): number => {
    let root = index;
    while (parents[root] !== root) root = parents[root]!;
    for (let at = index; parents[at] !== root;) {
      const next = parents[at]!;
      parents[at] = root;
      at = next;
    }
    return root;
  };
  const firstWith = new Map<string | number, number>();
  for (let index = 0; index < members.length; index += 1) {
    for (const shared of sharedOf(members[index]!)) {
      const first = firstWith.get(shared);
      if (first === undefined) firstWith.set(shared, index);
      else parents[rootOf(index)] = rootOf(first);
    }
  }
  const groups = new Map<number, Member[]>();
  for (let index = 0; index < members.length; index += 1) {
    const root = rootOf(index);
    const group = groups.get(root);
    if (group) group.push(members[index]!);
    else groups.set(root, [members[index]!]);
  }
  return [...groups.values()];
}
