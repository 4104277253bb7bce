// RBAC's manifests, and what they allow.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import type { KubeObject } from './api.ts';

const MANIFESTS = join(import.meta.dirname, '..', '..', '..', 'deploy', 'kubernetes', 'ha');

export interface PolicyRule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

export interface ClusterRole extends KubeObject {
  readonly kind: 'ClusterRole';
  readonly rules: readonly PolicyRule[];
}

export interface ClusterRoleBinding extends KubeObject {
  readonly kind: 'ClusterRoleBinding';
  readonly roleRef: { readonly name: string };
  readonly subjects: readonly { readonly kind: string; readonly name: string; readonly namespace: string }[];
}

/** The objects of a manifest of deploy/kubernetes/ha/, for the kinds of this group. */
export function readManifest(name: 'rbac.yaml' | 'maintenance.yaml', group: string): readonly KubeObject[] {
  const text = readFileSync(join(MANIFESTS, name), 'utf8').replaceAll('[kvm.cloud.sap]', `[${group}]`);
  return parseAllDocuments(text).map((document) => document.toJS({ maxAliasCount: 0 }) as KubeObject);
}

/** The user that a service account is. */
export function serviceAccountUser(namespace: string, name: string): string {
  return `system:serviceaccount:${namespace}:${name}`;
}

/** Which user may do what, by roles and their bindings. */
export class Permissions {
  readonly #rules = new Map<string, PolicyRule[]>();

  constructor(objects: readonly KubeObject[]) {
    const roles = new Map(
      objects.filter((each) => each.kind === 'ClusterRole').map((role) => [role.metadata.name, role as ClusterRole]),
    );
    for (const binding of objects.filter((each) => each.kind === 'ClusterRoleBinding') as ClusterRoleBinding[]) {
      for (const { name, namespace } of binding.subjects) {
        const user = serviceAccountUser(namespace, name);
        const rules = this.#rules.get(user) ?? [];
        rules.push(...(roles.get(binding.roleRef.name)?.rules ?? []));
        this.#rules.set(user, rules);
      }
    }
  }

  /** @param resource with its subresource: `hypervisors/status` */
  allow(user: string, verb: string, group: string, resource: string): boolean {
    return (this.#rules.get(user) ?? []).some(
      (rule) => rule.apiGroups.includes(group) && rule.resources.includes(resource) && rule.verbs.includes(verb),
    );
  }
}
