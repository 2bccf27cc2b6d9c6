import { settings, type Config } from './config.ts';

/** The database of a process that embeds none; ends the process with a clear word when the key is missing. */
export function requireDatabaseUrl(config: Config): string {
  if (config.DATABASE_URL !== undefined) return config.DATABASE_URL;
  process.stderr.write(
    `The configuration has a fault:\n  DATABASE_URL: found nothing, expected ${settings.DATABASE_URL.expected} (\`npm start\` brings its own database)\n`,
  );
  process.exit(78);
}
