// Node's own modules that take milliseconds to load, and that few starts need: the bundles load one when something of it is used first.
import type { Plugin } from 'esbuild';

const NAMESPACE = 'deferred-builtin';

const DEFERRED: readonly string[] = [
  'node:child_process',
  'node:crypto',
  'node:fs/promises',
  'node:http2',
  'node:https',
  'node:tls',
  'node:v8',
  'node:worker_threads',
];

/** Makes an import of one of these modules an object of getters that load it. */
export function deferBuiltins(): Plugin {
  return {
    name: 'deferred-builtins',
    setup({ onResolve, onLoad }) {
      onResolve({ filter: /^node:/ }, ({ path }) =>
        DEFERRED.includes(path) ? { path, namespace: NAMESPACE } : undefined,
      );
      onLoad({ filter: /.*/, namespace: NAMESPACE }, async ({ path }) => {
        const exported: object = await import(path);
        const names = Object.keys(exported).filter((name) => name !== 'default');
        return {
          contents: `
            let loaded;
            function load() { return loaded ??= process.getBuiltinModule(${JSON.stringify(path)}); }
            module.exports = { ${names.map((name) => `get ${name}() { return load().${name}; }`).join(', ')} };`,
        };
      });
    },
  };
}
