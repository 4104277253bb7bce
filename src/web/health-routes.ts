import { type Route, sendText } from './route.ts';

/** `/-/healthy`: 200 while the process runs; `/-/ready`: 200 when `isReady` returns true, 503 before. */
export function healthRoutes({ isReady }: { readonly isReady: () => boolean }): readonly Route[] {
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
      handle: (request, response) =>
        isReady() ? sendText(request, response, 200, 'ready\n') : sendText(request, response, 503, 'not ready\n'),
    },
  ];
}
