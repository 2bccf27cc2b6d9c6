export {
  bootstrapInstallation,
  createApiKey,
  createWorkspace,
  findWorkspace,
  makeUpCredentials,
} from './accounts.service.ts';
export { makeAuthentication, type Authentication } from './authentication.ts';
