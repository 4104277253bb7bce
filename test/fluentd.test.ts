// The Forward sink against a real Fluentd: plain, with a shared key, with a user, and by TLS.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, it } from 'node:test';
import { SYSTEM_CLOCK } from '../src/base/clock.ts';
import type { ForwardServer } from '../src/outputs/logs/forward-connection.ts';
import { ForwardSink, type ForwardTarget } from '../src/outputs/logs/forward-sink.ts';
import { describeLab } from './lab/describe.ts';
import { FLUENTD_KEY, FLUENTD_USER, Fluentd } from './lab/fluentd.ts';
import { KeptLog } from './support/kept-log.ts';
import { logBatch, logRecord } from './support/log-records.ts';

describeLab('a real Fluentd', ['fluentd', 'tls'], () => {
  let fluentd: Fluentd;
  let written = 0;
  before(async () => {
    fluentd = await Fluentd.start();
  });
  after(() => fluentd?.[Symbol.asyncDispose]());

  function open(server: Partial<ForwardServer> & { readonly port: number }, target: Partial<ForwardTarget> = {}) {
    return new ForwardSink(
      {
        server: { host: '127.0.0.1', tls: undefined, security: undefined, ...server },
        tag: 'libvirt.logs',
        compression: 'none',
        ackTimeoutMs: 60_000,
        ...target,
      },
      {
        origin: { hostName: 'node-1', hostId: undefined },
        clock: SYSTEM_CLOCK,
        logger: new KeptLog(),
        onRejected: () => assert.fail('rejected'),
      },
    );
  }

  const security = (user?: typeof FLUENTD_USER) => ({ sharedKey: FLUENTD_KEY, selfHostname: 'node-1', user });

  it('takes records as they are, with tag and time to the nanosecond, and acknowledges them', async () => {
    const sink = open({ port: fluentd.ports.plain });
    await sink.send(logBatch([logRecord({ body: 'two\nlines ä 😀' })]));
    sink.close();
    assert.deepEqual(await fluentd.records(++written), [
      {
        severity: 'error',
        severity_text: 'error',
        message: 'two\nlines ä 😀',
        'service.name': 'libvirtd',
        'host.name': 'node-1',
        'libvirt.log.source': 'daemon',
        'code.function.name': 'virNetSocketReadWire',
        'code.line.number': 1791,
        'thread.id': 15623,
        'log.record.uid': '2049:131:0:9f86d081',
        tag: 'libvirt.logs',
        event_time: '2026-11-21T12:04:31.705000001Z',
      },
    ]);
  });

  it('takes compressed batches of many records on one connection, in order', async () => {
    const sink = open({ port: fluentd.ports.plain }, { compression: 'gzip' });
    const batches = [logBatch(1000), logBatch(2000)];
    for (const batch of batches) await sink.send(batch);
    sink.close();
    written += 3000;
    const messages = (await fluentd.records(written)).slice(-3000).map(({ message }) => message);
    assert.deepEqual(
      messages,
      batches.flatMap(({ records }) => records.map(({ body }) => body)),
    );
  });

  it('shakes hands with a shared key, with a user, and by TLS with a client certificate', async () => {
    const { pkiPath, caCert } = fluentd.certificates;
    const read = (file: string) => readFileSync(join(pkiPath, file), 'utf8');
    const tls = {
      ca: readFileSync(caCert, 'utf8'),
      client: { cert: read('clientcert.pem'), key: read('clientkey.pem') },
      isVerified: true,
      serverName: 'localhost',
    };
    for (const server of [
      { port: fluentd.ports.key, security: security() },
      { port: fluentd.ports.user, security: security(FLUENTD_USER) },
      { port: fluentd.ports.tls, security: security(FLUENTD_USER), tls },
    ]) {
      const sink = open(server);
      await sink.send(logBatch(2));
      await sink.send(logBatch(3));
      sink.close();
      written += 5;
      await fluentd.records(written);
    }
  });

  it('refuses a wrong key, a wrong password, a missing key and its own name, each with a reason to act on', async () => {
    const cases = [
      [{ ...security(), sharedKey: 'another' }, /refuses.*: shared_key mismatch/],
      [security({ ...FLUENTD_USER, password: 'another' }), /: username\/password mismatch/],
      [{ ...security(FLUENTD_USER), selfHostname: 'fluentd' }, /same host ?name/i],
      [undefined, /wants a shared key/],
    ] as const;
    for (const [each, expected] of cases) {
      const sink = open({ port: fluentd.ports.user, security: each });
      await assert.rejects(sink.send(logBatch(1)), (error: Error) => {
        assert.match(error.message, expected);
        assert.equal((error as Error & { code: string }).code, 'ERR_DELIVERY_BLOCKED');
        return true;
      });
      sink.close();
    }
    assert.equal((await fluentd.records(written)).length, written);
  });
});
