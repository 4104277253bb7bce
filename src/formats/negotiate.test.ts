import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodingQuality, negotiateFormat } from './negotiate.ts';

const TEXT = 'text/plain; version=0.0.4; charset=utf-8';
const OPENMETRICS = 'application/openmetrics-text; version=1.0.0; charset=utf-8';
const DRAFT = 'application/openmetrics-text; version=0.0.1; charset=utf-8';

for (const [accept, expected, why] of [
  [undefined, TEXT, 'no header'],
  ['', TEXT, 'an empty header'],
  ['*/*', TEXT, 'curl'],
  ['text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8', TEXT, 'a browser'],
  ['application/json', TEXT, 'nothing that virtlens speaks'],
  ['text/plain;version=0.0.4', TEXT, 'text outright'],
  ['text/plain', TEXT, 'text of any version'],
  ['application/openmetrics-text; version=1.0.0', OPENMETRICS, 'OpenMetrics outright'],
  ['application/openmetrics-text; version=1.0.0; charset=utf-8', OPENMETRICS, 'with its charset'],
  ['Application/OpenMetrics-Text;Version="1.0.0"', OPENMETRICS, 'any case, quoted'],
  ['application/openmetrics-text', OPENMETRICS, 'of any version'],
  ['application/openmetrics-text;version=0.0.1', DRAFT, 'the draft'],
  ['application/openmetrics-text;version=2.0.0', TEXT, 'a version of the future'],
  [
    'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1',
    OPENMETRICS,
    'Prometheus 2.42',
  ],
  [
    'application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1',
    OPENMETRICS,
    'Prometheus 3',
  ],
  ['text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.4', TEXT, 'text preferred'],
  ['text/plain;q=0.4, application/openmetrics-text;q=0.5', OPENMETRICS, 'OpenMetrics preferred, though later'],
  ['text/plain, application/openmetrics-text', TEXT, 'a tie: the earlier'],
  ['application/openmetrics-text, text/plain', OPENMETRICS, 'a tie: the earlier'],
  ['*/*, application/openmetrics-text', OPENMETRICS, 'a name before a wildcard'],
  ['*/*, application/openmetrics-text;q=0.5', TEXT, 'a better wildcard'],
  ['application/openmetrics-text;q=0', TEXT, 'OpenMetrics refused'],
  ['application/openmetrics-text;q=0.0, */*;q=0.1', TEXT, 'OpenMetrics refused, the rest taken'],
  ['application/openmetrics-text;q=maybe', OPENMETRICS, 'a quality that is none'],
  ['application/openmetrics-text;x="a,b;c";q=0.2,text/plain;q=0.3', TEXT, 'separators inside quotes'],
  [',,;;q=,', TEXT, 'garbage'],
] as const) {
  test(`Accept, ${why}: ${accept ?? 'none'}`, () => assert.equal(negotiateFormat(accept).contentType, expected));
}

for (const [header, expected] of [
  [undefined, 0],
  ['', 0],
  ['gzip', 1],
  ['GZIP', 1],
  ['deflate, gzip;q=0.5, br', 0.5],
  ['gzip;q=0', 0],
  ['gzip; q=0.000', 0],
  ['identity', 0],
  ['*', 1],
  ['*;q=0.3', 0.3],
  ['*, gzip;q=0', 0],
  ['gzip;q=0, *', 0],
  ['gzipped', 0],
] as const) {
  test(`Accept-Encoding: ${header ?? 'none'}`, () => assert.equal(encodingQuality(header, 'gzip'), expected));
}
