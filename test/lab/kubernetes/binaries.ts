// Where the program of a real Kubernetes API server is.
import { homedir } from 'node:os';
import { join } from 'node:path';

/** The version that Debian 12 has the sources of, and that its Go builds. */
export const KUBERNETES_VERSION = 'v1.20.2';

/** What is built once for a machine is kept here, outside of any clone; `VIRTLENS_LAB_CACHE` names another folder. */
export const LAB_CACHE =
  process.env.VIRTLENS_LAB_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'virtlens-lab');

/** The program that `npm run lab:kubernetes` builds. */
export const KUBE_APISERVER = join(LAB_CACHE, `kube-apiserver-${KUBERNETES_VERSION}`);
