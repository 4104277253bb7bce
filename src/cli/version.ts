import manifest from '../../package.json' with { type: 'json' };

/** virtlens's own version, as its package states it. */
export const VERSION: string = manifest.version;
