// The bill of materials of a release in CycloneDX's form (https://cyclonedx.org/docs/1.5/json/): what npm says of the packages that the
// bundles have, and Node.js with its own libraries, which the executable has.
import { execFileSync } from 'node:child_process';
import manifest from '../package.json' with { type: 'json' };
import { bundledPackages } from './bundle/parts.ts';
import { ROOT } from './bundle/root.ts';

interface Component {
  readonly 'bom-ref': string;
  readonly name: string;
  readonly version: string;
  readonly properties?: readonly { readonly name: string }[];
  readonly [key: string]: unknown;
}

/** The parts of npm's document that are changed here. */
interface Sbom {
  readonly metadata: { readonly component: Component; readonly [key: string]: unknown };
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn?: readonly string[] }[];
  readonly [key: string]: unknown;
}

/** `name@version` of what is in the bundles, by the packages' own manifests. */
async function bundledRefs(): Promise<ReadonlySet<string>> {
  const refs = [...(await bundledPackages())].map(async (folder) => {
    const { default: found } = await import(`${ROOT}/${folder}/package.json`, { with: { type: 'json' } });
    return `${found.name}@${found.version}`;
  });
  return new Set(await Promise.all(refs));
}

/** The document of a version, as JSON. */
export async function renderSbom(version: string): Promise<string> {
  const args = ['sbom', '--sbom-format=cyclonedx', '--sbom-type=application'];
  const listed = execFileSync('npm', args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  const sbom = JSON.parse(listed) as Sbom;
  const bundled = await bundledRefs();
  const components = sbom.components.filter((component) => bundled.has(component['bom-ref'])).map(asRequired);
  const missing = bundled.difference(new Set(components.map((component) => component['bom-ref'])));
  if (missing.size > 0) throw new Error(`npm sbom does not list ${[...missing].join(', ')}; run npm ci`);
  const node = nodeComponent();
  const own = `${manifest.name}@${version}`;
  const keep = (refs: readonly string[] = []) => refs.filter((ref) => bundled.has(ref));
  const dependencies = sbom.dependencies
    .filter(({ ref }) => bundled.has(ref))
    .map(({ ref, dependsOn }) => ({ ref, dependsOn: keep(dependsOn) }));
  const direct = Object.keys(manifest.devDependencies).flatMap((name) =>
    components.filter((component) => component.name === name).map((component) => component['bom-ref']),
  );
  const document = {
    ...sbom,
    metadata: {
      ...sbom.metadata,
      component: { ...sbom.metadata.component, 'bom-ref': own, name: manifest.name, version, purl: `pkg:npm/${own}` },
    },
    components: [node, ...components],
    dependencies: [{ ref: own, dependsOn: [node['bom-ref'], ...direct] }, { ref: node['bom-ref'] }, ...dependencies],
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

/** To npm it is for development alone, since the package of virtlens needs nothing beside its bundles. */
function asRequired(component: Component): Component {
  const properties = component.properties?.filter(({ name }) => name !== 'cdx:npm:package:development');
  return { ...component, scope: 'required', ...(properties && { properties }) };
}

/** The Node.js that runs this, which is the one in the executable. */
function nodeComponent(): Component {
  const { node, ...libraries } = process.versions;
  return {
    'bom-ref': `node@${node}`,
    type: 'platform',
    name: 'node',
    version: node,
    description: 'Node.js: in the executable, the packages and the image, not in virtlens.js and libvirt.js',
    cpe: `cpe:2.3:a:nodejs:node.js:${node}:*:*:*:-:*:*:*`,
    licenses: [{ license: { id: 'MIT' } }],
    components: Object.entries(libraries)
      // Numbers of interfaces, no libraries.
      .filter(([name]) => !['modules', 'napi'].includes(name))
      .map(([name, version]) => ({ 'bom-ref': `node/${name}@${version}`, type: 'library', name, version })),
  };
}
