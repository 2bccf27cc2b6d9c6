import { readConfig } from './src/config.ts';

const config = {
  client: 'pg',
  connection: readConfig().DATABASE_URL,
  migrations: { directory: './migrations', extension: 'ts', loadExtensions: ['.ts'] },
};

export default config;
