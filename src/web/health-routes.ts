import { type Route, sendText } from './route.ts';

export interface ReachabilityOptions {
  readonly path: string;
  /** Resolves with whether what this program reads can be reached now. */
  readonly isReachable: () => Promise<boolean>;
}

/** A path of the user's choice: 200 while what this program reads can be reached, else 503. */
export function reachabilityRoute({ path, isReachable }: ReachabilityOptions): Route {
  return {
    path,
    title: 'Connection',
    description: 'whether libvirt can be reached',
    async handle(request, response) {
      if (await isReachable()) sendText(request, response, 200, 'libvirt is reached\n');
      else sendText(request, response, 503, 'libvirt is not reached\n');
    },
  };
}

/** `/-/healthy`: 200 while the process runs; `/-/ready`: 200 when `isReady` returns true, else 503, with the reason that it returns instead. */
export function healthRoutes({ isReady }: { readonly isReady: () => boolean | string }): readonly Route[] {
  return [
    {
      path: '/-/healthy',
      title: 'Health',
      description: 'whether this program runs',
      handle: (request, response) => sendText(request, response, 200, 'healthy\n'),
    },
    {
      path: '/-/ready',
      title: 'Readiness',
      description: 'whether it has something to serve',
      handle: (request, response) => {
        const readiness = isReady();
        if (readiness === true) return sendText(request, response, 200, 'ready\n');
        sendText(request, response, 503, readiness === false ? 'not ready\n' : `not ready: ${readiness}\n`);
      },
    },
  ];
}
