export { bootstrapInstallation, createApiKey, createWorkspace, findWorkspace } from './accounts.service.ts';
export { makeAuthentication, type Authentication } from './authentication.ts';
