import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { ClusterConfigError } from '../cluster.ts';
import { findConfigSource } from './config-source.ts';

const NOTHING = { kubeconfig: undefined, context: undefined };
const POD = { KUBERNETES_SERVICE_HOST: '10.96.0.1', KUBERNETES_SERVICE_PORT: '443' };

describe('findConfigSource', () => {
  it('takes the flag before KUBECONFIG, and that before the pod', () => {
    const env = { ...POD, KUBECONFIG: '/a:/b' };
    const flag = { kubeconfig: '/flag', context: undefined };
    assert.deepEqual(findConfigSource(flag, env), { kind: 'files', name: '/flag', files: ['/flag'] });
    const listed = { kind: 'files', name: 'KUBECONFIG=/a:/b', files: ['/a', '/b'] };
    assert.deepEqual(findConfigSource(NOTHING, env), listed);
    const dir = '/var/run/secrets/kubernetes.io/serviceaccount';
    const pod = { kind: 'pod', name: dir, server: 'https://10.96.0.1:443', dir };
    assert.deepEqual(findConfigSource(NOTHING, { ...POD, KUBECONFIG: '' }), pod);
  });

  it('writes the address of an IPv6 service in brackets', () => {
    const source = findConfigSource(NOTHING, { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '6443' });
    assert.equal(source.kind === 'pod' && source.server, 'https://[fd00::1]:6443');
  });

  it('takes ~/.kube/config before the pod where it is there', () => {
    const HOME = mkdtempSync(join(tmpdir(), 'virtlens-home-'));
    assert.equal(findConfigSource(NOTHING, { ...POD, HOME }).kind, 'pod');
    mkdirSync(join(HOME, '.kube'));
    const file = join(HOME, '.kube', 'config');
    writeFileSync(file, '');
    assert.deepEqual(findConfigSource(NOTHING, { ...POD, HOME }), { kind: 'files', name: file, files: [file] });
    rmSync(HOME, { recursive: true });
  });

  it('says what can be given when there is nothing', () => {
    const HOME = '/no/such/home';
    assert.throws(
      () => findConfigSource(NOTHING, { HOME }),
      (error) =>
        error instanceof ClusterConfigError && /--kubernetes\.kubeconfig=FILE.*KUBECONFIG.*pod/.test(error.message),
    );
  });

  it('refuses a context where there are none', () => {
    assert.throws(
      () => findConfigSource({ kubeconfig: undefined, context: 'prod' }, POD),
      /--kubernetes\.context=prod/,
    );
  });
});
