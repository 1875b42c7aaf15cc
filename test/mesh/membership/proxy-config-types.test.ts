import assert from "node:assert/strict";
import { test } from "node:test";
import { parseFields } from "../../../src/kube/mesh-config.ts";
import { wrongTypeIn } from "../../../src/mesh/membership/proxy-config-types.ts";

// What Istio's injector says of them (pkg/kube/inject/validate.go validateProxyConfig).
test("a proxy config is read as istiod reads it", () => {
  const accepted =
    "concurrency: '2'|concurrency: 0x10|concurrency: 1.0|concurrency: null|drainDuration: '0'|drainDuration: 1h1m|fileFlushInterval: .5s|meshId: !!str 1|meshId: 2001-01-01|meshId: 1:30|interceptionMode: 1|statsCompression: on|tracing: { sampling: NaN }|sds: {}|unknown: 1|proxyMetadata: { A: null }|extraStatTags: [null]";
  const refused =
    "concurrency: abc|concurrency: 2.5|concurrency: '1e2'|concurrency: '01'|drainDuration: 45|drainDuration: 1d|meshId: 1_000|meshId: on|interceptionMode: Redirect|statsCompression: 'true'|tracing: { sampling: abc }|sds: []|image: distroless|extraStatTags: a|proxyMetadata: []|statusPort: 0|proxy_admin_port: 70000|gatewayTopology: { numTrustedProxies: -1 }";
  const isRead = (yaml: string) => wrongTypeIn(parseFields(yaml, "a proxy config", [])) === undefined;
  assert.deepEqual(
    accepted.split("|").filter((yaml) => !isRead(yaml)),
    [],
  );
  assert.deepEqual(refused.split("|").filter(isRead), []);
});

test("the field is named from the proxy config on", () => {
  const config = parseFields("readinessProbe: { httpGet: { httpHeaders: [{ name: a }, { name: 1 }] } }", "x", []);
  assert.equal(wrongTypeIn(config)?.field, "readinessProbe.httpGet.httpHeaders.1.name");
});
