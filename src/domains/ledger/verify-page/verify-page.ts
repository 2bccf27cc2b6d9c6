import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A page in one file, and the policy under which it may do nothing but what is in it. */
export interface VerifyPage {
  readonly html: string;
  readonly contentSecurityPolicy: string;
}

/**
 * Makes the page when it is first asked for: the verifier of this installation, word for word, bundled for browsers. It
 * takes half a second and is kept.
 */
export function makeVerifyPage(): () => Promise<VerifyPage> {
  let made: Promise<VerifyPage> | undefined;
  return async () => {
    made ??= bundlePage();
    try {
      return await made;
    } catch (error) {
      made = undefined;
      throw error;
    }
  };
}

async function bundlePage(): Promise<VerifyPage> {
  const template = await readFile(join(import.meta.dirname, 'page.html'), 'utf8');
  const script = await bundleScript();
  const [, style = ''] = /<style>([\s\S]*?)<\/style>/.exec(template) ?? [];
  const html = template.replace(/<script>[\s\S]*?<\/script>/, () => `<script>${script}</script>`);
  const directives = [
    "default-src 'none'",
    `script-src '${sourceHash(script)}'`,
    `style-src '${sourceHash(style)}'`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ];
  return { html, contentSecurityPolicy: directives.join('; ') };
}

async function bundleScript(): Promise<string> {
  // The bundler is a program of its own, and needed once.
  const { build, stop } = await import('esbuild');
  try {
    const folder = import.meta.dirname;
    const { outputFiles } = await build({
      entryPoints: [join(folder, 'page.ts')],
      bundle: true,
      write: false,
      minify: true,
      platform: 'browser',
      format: 'iife',
      target: 'es2022',
      charset: 'ascii',
      legalComments: 'none',
      alias: { 'node:crypto': join(folder, 'browser-crypto.ts') },
      inject: [join(folder, 'browser-globals.ts')],
      logLevel: 'silent',
    });
    // A string in the script must not end the element that it stands in.
    return outputFiles[0]!.text.replaceAll('</script', '<\\/script').replaceAll('<!--', '<\\!--');
  } finally {
    await stop();
  }
}

function sourceHash(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64')}`;
}
