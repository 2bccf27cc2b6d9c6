import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A process of the Procfile: the arguments that `node` gets. */
export interface ProcessLine {
  readonly name: string;
  readonly arguments: readonly string[];
}

const file = join(import.meta.dirname, '..', 'Procfile');

/** The lines `name: node …` of the Procfile that have the given names, so that nothing is started otherwise than it says. */
export async function readProcfile(names: readonly string[]): Promise<ProcessLine[]> {
  const text = await readFile(file, 'utf8');
  const commands = new Map(
    text.split('\n').flatMap((line) => {
      const [, name, command] = /^([\w-]+):\s*(\S.*)$/.exec(line.trim()) ?? [];
      return name && command ? [[name, command.trim().split(/\s+/)] as const] : [];
    }),
  );
  return names.map((name) => {
    const [program, ...programArguments] = commands.get(name) ?? [];
    if (program !== 'node') throw new Error(`The Procfile has no line "${name}: node …".`);
    return { name, arguments: programArguments };
  });
}
