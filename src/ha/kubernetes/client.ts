// What is used of the official client. It costs tens of megabytes and most of a second to load: only `openCluster` imports this file,
// when it is called, so that no other command pays for it.
export {
  CustomObjectsApi,
  createConfiguration,
  KubeConfig,
  ResponseContext,
  ServerConfiguration,
  wrapHttpLibrary,
} from '@kubernetes/client-node';
