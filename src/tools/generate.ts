import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { settings } from '../config.ts';
import { problemDefinitions } from '#platform/errors.ts';

const repository = join(import.meta.dirname, '../..');
const note = 'Made from the code by `npm run generate`; edit the code instead.';

function configurationPage(): string {
  const rows = Object.entries(settings).map(
    ([key, { description, expected, defaultText, secret }]: [string, (typeof settings)[keyof typeof settings]]) => {
      const shownDefault = defaultText === undefined ? '–' : `\`${defaultText}\``;
      return `| \`${key}\` | ${description}${secret ? ' Secret.' : ''} | ${expected} | ${shownDefault} |`;
    },
  );
  return `# Configuration\n\n${note}\n\nAll faults are listed at once when a process starts, each with the key, what was found and what is expected. Each value may also be read from a file, which \`<KEY>_FILE\` names.\n\n| Key | What for | Expected | Default |\n|---|---|---|---|\n${rows.join('\n')}\n`;
}

function environmentExample(): string {
  const lines = Object.entries(settings).map(
    ([key, { description, expected, defaultText }]: [string, (typeof settings)[keyof typeof settings]]) => {
      return `# ${description}\n# Expected: ${expected}.\n#${key}=${defaultText ?? ''}`;
    },
  );
  return `# ${note}\n\n${lines.join('\n\n')}\n`;
}

function errorsPage(): string {
  const rows = Object.entries(problemDefinitions).map(
    ([code, { status, title }]) => `| <a id="${code}"></a>\`${code}\` | ${status} | ${title} |`,
  );
  return `# Errors\n\n${note}\n\nErrors are problem documents (RFC 9457, \`application/problem+json\`). \`error\` is the code below; \`errors\` points to the places. The same codes stand in the entries of a receipt, for records that were refused.\n\n| Code | Status | Meaning |\n|---|---|---|\n${rows.join('\n')}\n`;
}

const pages: Readonly<Record<string, () => string>> = {
  'docs/configuration.md': configurationPage,
  '.env.example': environmentExample,
  'docs/errors.md': errorsPage,
};

/** Writes the pages that are made from the code; with --check only says which are not current. */
const isCheck = process.argv.includes('--check');
const stale: string[] = [];
for (const [file, make] of Object.entries(pages)) {
  const path = join(repository, file);
  const wanted = make();
  if ((await readFile(path, 'utf8').catch(() => '')) === wanted) continue;
  stale.push(file);
  if (!isCheck) await writeFile(path, wanted);
}
if (isCheck && stale.length > 0) {
  process.stderr.write(`Not current: ${stale.join(', ')}. Run npm run generate.\n`);
  process.exitCode = 1;
}
