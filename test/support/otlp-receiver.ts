// A strict receiver of OTLP over HTTP, with a decoder of its own for both encodings
// (https://opentelemetry.io/docs/specs/otlp/#otlphttp, opentelemetry-proto's logs.proto).
import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer, type ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import { gunzipSync } from 'node:zlib';

export type OtlpValue = string | number | bigint | boolean | undefined;

export interface ReceivedLog {
  readonly timeUnixNano: bigint;
  readonly observedTimeUnixNano: bigint;
  readonly severityNumber: number;
  readonly severityText: string;
  readonly body: OtlpValue;
  readonly attributes: Readonly<Record<string, OtlpValue>>;
}

export interface ReceivedResource {
  readonly attributes: Readonly<Record<string, OtlpValue>>;
  readonly scope: { readonly name: string; readonly version: string };
  readonly logs: readonly ReceivedLog[];
}

/** One request as it came. */
export interface OtlpRequest {
  readonly url: string | undefined;
  readonly headers: IncomingMessage['headers'];
  /** As it was sent, compressed or not. */
  readonly raw: Buffer;
  readonly resources: readonly ReceivedResource[];
}

/** Writes the reply to a request; nothing, to keep the client waiting. */
export type OtlpReply = (response: ServerResponse, request: OtlpRequest) => void;

/** The reply of a receiver that takes everything, in the encoding of the request. */
export const takeAll: OtlpReply = (response, { headers }) => {
  const contentType = headers['content-type'];
  response.writeHead(200, { 'content-type': contentType }).end(contentType === 'application/json' ? '{}' : '');
};

export class OtlpReceiver implements AsyncDisposable {
  readonly requests: OtlpRequest[] = [];
  /** Where a client did not follow the specification. */
  readonly violations: string[] = [];
  reply: OtlpReply = takeAll;
  readonly url: URL;
  readonly #server: Server;
  #arrived = Promise.withResolvers<void>();

  private constructor(server: Server, scheme: string) {
    this.#server = server;
    this.url = new URL(`${scheme}://127.0.0.1:${(server.address() as AddressInfo).port}/v1/logs`);
    server.on('request', (request, response) => void this.#serve(request, response));
  }

  static async start(tls?: ServerOptions): Promise<OtlpReceiver> {
    const server = tls === undefined ? createHttpServer() : createHttpsServer(tls);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new OtlpReceiver(server, tls === undefined ? 'http' : 'https');
  }

  /** All records in the order of their coming. */
  get logs(): ReceivedLog[] {
    return this.requests.flatMap(({ resources }) => resources.flatMap(({ logs }) => logs));
  }

  async requestCount(count: number): Promise<void> {
    while (this.requests.length < count) await this.#arrived.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  async #serve(message: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of message) chunks.push(chunk);
    const raw = Buffer.concat(chunks);
    const { url, headers, method } = message;
    try {
      demand(method === 'POST', `the method is ${method}`);
      const encoding = headers['content-encoding'];
      demand(encoding === undefined || encoding === 'gzip', `the encoding is ${encoding}`);
      const body = encoding === 'gzip' ? gunzipSync(raw) : raw;
      const request = { url, headers, raw, resources: decode(body, headers['content-type']) };
      this.requests.push(request);
      this.reply(response, request);
    } catch (error) {
      this.violations.push(String(error));
      response.writeHead(400).end(String(error));
    }
    this.#arrived.resolve();
    this.#arrived = Promise.withResolvers();
  }
}

function demand(condition: boolean, rule: string): void {
  if (!condition) throw new Error(rule);
}

function decode(body: Buffer, contentType: string | undefined): ReceivedResource[] {
  if (contentType === 'application/json') {
    return list(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)), REQUEST).map(toResource);
  }
  demand(contentType === 'application/x-protobuf', `the content type is ${contentType}`);
  return list(decodeMessage(body, REQUEST), REQUEST).map(toResource);
}

// ---- the messages -----------------------------------------------------------------------------------------------------------------

type Kind = 'string' | 'bytes' | 'bool' | 'int64' | 'double' | 'uint32' | 'enum' | 'fixed64' | 'fixed32' | MessageType;
interface Field {
  readonly number: number;
  readonly kind: Kind;
  readonly isRepeated?: boolean;
}
interface MessageType {
  readonly [name: string]: Field;
}
type Message = Record<string, unknown>;

const field = (number: number, kind: Kind): Field => ({ number, kind });
const repeated = (number: number, kind: Kind): Field => ({ number, kind, isRepeated: true });

// Arrays and maps of values are not what virtlens sends.
const ANY_VALUE: MessageType = {
  stringValue: field(1, 'string'),
  boolValue: field(2, 'bool'),
  intValue: field(3, 'int64'),
  doubleValue: field(4, 'double'),
  bytesValue: field(7, 'bytes'),
};
const KEY_VALUE: MessageType = { key: field(1, 'string'), value: field(2, ANY_VALUE) };
const RESOURCE: MessageType = { attributes: repeated(1, KEY_VALUE), droppedAttributesCount: field(2, 'uint32') };
const SCOPE: MessageType = { name: field(1, 'string'), version: field(2, 'string') };
const LOG_RECORD: MessageType = {
  timeUnixNano: field(1, 'fixed64'),
  severityNumber: field(2, 'enum'),
  severityText: field(3, 'string'),
  body: field(5, ANY_VALUE),
  attributes: repeated(6, KEY_VALUE),
  droppedAttributesCount: field(7, 'uint32'),
  flags: field(8, 'fixed32'),
  traceId: field(9, 'bytes'),
  spanId: field(10, 'bytes'),
  observedTimeUnixNano: field(11, 'fixed64'),
  eventName: field(12, 'string'),
};
const SCOPE_LOGS: MessageType = {
  scope: field(1, SCOPE),
  logRecords: repeated(2, LOG_RECORD),
  schemaUrl: field(3, 'string'),
};
const RESOURCE_LOGS: MessageType = {
  resource: field(1, RESOURCE),
  scopeLogs: repeated(2, SCOPE_LOGS),
  schemaUrl: field(3, 'string'),
};
const REQUEST: MessageType = { resourceLogs: repeated(1, RESOURCE_LOGS) };

function list(request: unknown, type: MessageType): Message[] {
  checkMessage(request, type, 'request');
  return (request as { resourceLogs: Message[] }).resourceLogs ?? [];
}

/** Holds a message of either encoding to its type. */
function checkMessage(value: unknown, type: MessageType, path: string): void {
  demand(typeof value === 'object' && value !== null && !Array.isArray(value), `${path} is no message`);
  for (const [name, member] of Object.entries(value as Message)) {
    const known = type[name];
    demand(known !== undefined, `${path}.${name} is not known`);
    const { kind, isRepeated } = known!;
    demand(Array.isArray(member) === (isRepeated === true), `${path}.${name} is a list or not`);
    for (const each of [member].flat()) checkValue(each, kind, `${path}.${name}`);
  }
}

function checkValue(value: unknown, kind: Kind, path: string): void {
  if (typeof kind === 'object') {
    checkMessage(value, kind, path);
    if (kind === ANY_VALUE) demand(Object.keys(value as Message).length === 1, `${path} has one value`);
    return;
  }
  switch (kind) {
    case 'fixed64':
      demand(
        typeof value === 'bigint' || /^\d{1,20}$/.test(String(typeof value === 'string' ? value : '')),
        `${path} is a text of digits`,
      );
      demand(BigInt(value as string) < 2n ** 64n, `${path} has 64 bits`);
      return;
    case 'int64':
      demand(
        typeof value === 'bigint' || Number.isInteger(value) || /^-?\d+$/.test(String(value)),
        `${path} is a whole number`,
      );
      return;
    case 'enum':
      demand(Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 24, `${path} is from 1 to 24`);
      return;
    case 'uint32':
    case 'fixed32':
      demand(Number.isInteger(value) && Number(value) >= 0, `${path} is a whole number`);
      return;
    case 'string':
      demand(typeof value === 'string' && value.isWellFormed(), `${path} is a text`);
      return;
    case 'bytes':
      demand(false, `${path} is not there`);
      return;
    default:
      demand(typeof value === (kind === 'bool' ? 'boolean' : 'number'), `${path} is a ${kind}`);
  }
}

function toResource(message: Message): ReceivedResource {
  const scopes = message.scopeLogs as Message[];
  demand(scopes.length === 1, 'a resource has one scope');
  const [{ scope, logRecords }] = scopes as [{ scope: { name: string; version: string }; logRecords: Message[] }];
  demand(logRecords.length > 0, 'a scope has records');
  return {
    attributes: toAttributes((message.resource as Message).attributes),
    scope: { name: scope.name, version: scope.version },
    logs: logRecords.map(toLog),
  };
}

function toLog(record: Message): ReceivedLog {
  return {
    timeUnixNano: BigInt((record.timeUnixNano as string | bigint | undefined) ?? 0),
    observedTimeUnixNano: BigInt((record.observedTimeUnixNano as string | bigint | undefined) ?? 0),
    severityNumber: Number(record.severityNumber ?? 0),
    severityText: String(record.severityText ?? ''),
    body: toValue(record.body),
    attributes: toAttributes(record.attributes),
  };
}

function toAttributes(pairs: unknown): Record<string, OtlpValue> {
  const attributes: Record<string, OtlpValue> = {};
  for (const { key, value } of (pairs ?? []) as { key: string; value: unknown }[]) {
    demand(key !== '' && !Object.hasOwn(attributes, key), `the attribute ${key} is there twice, or has no name`);
    Object.defineProperty(attributes, key, { value: toValue(value), enumerable: true });
  }
  return attributes;
}

function toValue(value: unknown): OtlpValue {
  const [kind, member] = Object.entries((value ?? {}) as Message)[0] ?? [];
  return kind === 'intValue' ? Number(member) : (member as OtlpValue);
}

// ---- protobuf -----------------------------------------------------------------------------------------------------------------------

/** Decodes the wire format (https://protobuf.dev/programming-guides/encoding/); fields by their names. */
function decodeMessage(bytes: Buffer, type: MessageType): Message {
  const names = new Map(Object.entries(type).map(([name, { number }]) => [number, name]));
  const message: Message = {};
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      demand(byte !== undefined && shift < 70n, 'a varint ends');
      value |= BigInt(byte! & 0x7f) << shift;
      if (byte! < 0x80) return BigInt.asUintN(64, value);
    }
  };
  const take = (length: number): Buffer => {
    demand(at + length <= bytes.length, 'a field is whole');
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const name = names.get(tag >>> 3);
    demand(name !== undefined, `field ${tag >>> 3} is known`);
    const { kind, isRepeated } = type[name!]!;
    const wire = tag & 7;
    demand(wire === wireTypeOf(kind), `${name} has the wire type of ${String(kind)}`);
    const value = readValue(kind, wire, varint, take);
    if (isRepeated) {
      message[name!] ??= [];
      (message[name!] as unknown[]).push(value);
    } else message[name!] = value;
  }
  return message;
}

function wireTypeOf(kind: Kind): number {
  if (kind === 'fixed64' || kind === 'double') return 1;
  if (kind === 'fixed32') return 5;
  return typeof kind === 'object' || kind === 'string' || kind === 'bytes' ? 2 : 0;
}

function readValue(kind: Kind, wire: number, varint: () => bigint, take: (length: number) => Buffer): unknown {
  switch (wire) {
    case 0: {
      const value = varint();
      if (kind === 'bool') return value !== 0n;
      return kind === 'int64' ? BigInt.asIntN(64, value) : Number(value);
    }
    case 1:
      return kind === 'double' ? take(8).readDoubleLE() : take(8).readBigUInt64LE();
    case 5:
      return take(4).readUInt32LE();
    default: {
      const bytes = take(Number(varint()));
      if (typeof kind === 'object') return decodeMessage(bytes, kind);
      return kind === 'string' ? new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) : bytes;
    }
  }
}
