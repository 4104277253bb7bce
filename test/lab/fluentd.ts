// A real Fluentd that takes Forward in four ways and writes what it gets into a file.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Cage, tail, waitFor } from './cage.ts';
import { type Certificates, makeCertificates } from './certificates.ts';
import { canConnect, findFreePort } from './ports.ts';

/** The ways in: no security at all, a shared key, a shared key and a user, and both by TLS with a client certificate. */
export type FluentdEntrance = 'plain' | 'key' | 'user' | 'tls';

const ENTRANCES: readonly FluentdEntrance[] = ['plain', 'key', 'user', 'tls'];

export const FLUENTD_KEY = 'the shared key';
export const FLUENTD_USER = { name: 'virtlens', password: 'the password' };

export class Fluentd implements AsyncDisposable {
  readonly ports: Readonly<Record<FluentdEntrance, number>>;
  readonly certificates: Certificates;
  readonly #cage: Cage;
  readonly #output: string;

  private constructor(cage: Cage, ports: Readonly<Record<FluentdEntrance, number>>, certificates: Certificates) {
    this.#cage = cage;
    this.ports = ports;
    this.certificates = certificates;
    this.#output = join(cage.dir, 'records.log');
  }

  /** Starts it and waits until it takes connections. On failure nothing is left. */
  static async start(): Promise<Fluentd> {
    const cage = await Cage.open();
    try {
      const ports = Object.fromEntries(
        await Promise.all(ENTRANCES.map(async (entrance) => [entrance, await findFreePort()])),
      );
      const certificates = makeCertificates(join(cage.dir, 'pki'));
      const config = join(cage.dir, 'fluent.conf');
      writeFileSync(config, configuration(cage.dir, ports, certificates));
      const { isAlive, logPath } = await cage.start('fluentd', ['fluentd', '--no-supervisor', '--config', config]);
      const explain = () => `lab: fluentd does not come up:\n${tail(logPath)}`;
      await waitFor(
        async () => {
          if (!isAlive()) throw new Error(explain());
          const taken = await Promise.all(ENTRANCES.map((entrance) => canConnect(ports[entrance])));
          return taken.every(Boolean) || undefined;
        },
        explain,
        120_000,
      );
      return new Fluentd(cage, ports, certificates);
    } catch (error) {
      await cage.stop();
      throw error;
    }
  }

  /** The records that it has written, with their tag and time; waits until there are so many. */
  async records(count: number): Promise<Readonly<Record<string, unknown>>[]> {
    const read = () =>
      existsSync(this.#output)
        ? readFileSync(this.#output, 'utf8')
            .split('\n')
            .filter((line) => line !== '')
        : [];
    await waitFor(
      async () => read().length >= count || undefined,
      () => `lab: fluentd has written ${read().length} records of ${count}`,
      60_000,
    );
    return read().map((line) => JSON.parse(line));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cage.stop();
  }
}

function configuration(
  dir: string,
  ports: Readonly<Record<string, number>>,
  { caCert, serverCert, serverKey }: Certificates,
): string {
  const security = (rest: string) => `
  <security>
    self_hostname fluentd
    shared_key ${FLUENTD_KEY}
    ${rest}
  </security>`;
  const user = `user_auth true
    <user>
      username ${FLUENTD_USER.name}
      password ${FLUENTD_USER.password}
    </user>`;
  const tls = `
  <transport tls>
    cert_path ${serverCert}
    private_key_path ${serverKey}
    client_cert_auth true
    ca_path ${caCert}
  </transport>`;
  const extras = { plain: '', key: security(''), user: security(user), tls: security(user) + tls };
  const sources = ENTRANCES.map(
    (entrance) => `
<source>
  @type forward
  bind 127.0.0.1
  port ${ports[entrance]}${extras[entrance]}
</source>`,
  );
  return `${sources.join('\n')}
<match fluent.**>
  @type null
</match>
<match **>
  @type file
  path ${join(dir, 'records')}
  append true
  <format>
    @type json
  </format>
  <inject>
    tag_key tag
    time_key event_time
    time_type string
    time_format %Y-%m-%dT%H:%M:%S.%NZ
    utc true
  </inject>
  <buffer []>
    @type memory
    flush_mode immediate
  </buffer>
</match>
`;
}
