#!/usr/bin/env node
// Runs the TypeScript of src/cli with a Node that can: this one, or the one that npm installed beside it.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const main = new URL('../src/cli/main.ts', import.meta.url);
if (process.features.typescript === 'strip') {
  await import(main.href);
} else {
  process.exitCode = runWithOwnNode(fileURLToPath(main));
}

function runWithOwnNode(file) {
  let node;
  try {
    node = createRequire(import.meta.url).resolve(`node-linux-${process.arch}/bin/node`);
  } catch {
    process.stderr.write('defarm needs Node 24.12 or newer, or its optional packages: run npm ci.\n');
    return 1;
  }
  const { status, error } = spawnSync(node, [file, ...process.argv.slice(2)], { stdio: 'inherit' });
  if (error) throw error;
  return status ?? 1;
}
