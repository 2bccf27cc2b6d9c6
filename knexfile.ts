import { readConfig } from './src/config.ts';
import { migrationOptions } from './src/platform/migrations.ts';

/** For the command line of knex; the release step is `node src/cli/main.ts migrate`. */
const config = {
  client: 'pg',
  connection: readConfig().DATABASE_URL,
  migrations: migrationOptions,
};

export default config;
