export {
  bootstrapInstallation,
  createApiKey,
  createWorkspace,
  findWorkspace,
  makeUpCredentials,
} from './accounts.service.ts';
export { makeAuthentication, type Authentication } from './authentication.ts';
export { workspaceRoutes } from './workspaces.routes.ts';
export { makeWorkspacesService } from './workspaces.service.ts';
