import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createGate } from "../../src/admission/gate.ts";
import { refusedMeshConfig, withMeshConfigFaults } from "../../src/istiod-validation/mesh-config.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { reviewed } from "../admission/requests.ts";

const configMap = (mesh: string) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: "istio", namespace: "istio-system", uid: "u", resourceVersion: "1" },
  data: { mesh },
});

/** Mesh configs, and what istiod refuses or ignores of them: it was compared with ApplyMeshConfig of Istio 1.32. */
const cases: readonly (readonly [mesh: string, ...found: readonly string[]])[] = [
  ["enableAutoMtls: true\naccessLogFile: /dev/stdout\nconnectTimeout: 10s"],
  ["trust_domain: corp.example\nroot_namespace: null\naccess_log_encoding: 1\nproxyHttpPort: '15080'"],
  ["outboundTrafficPolicy: { mode: 77 }\ndefaultServiceExportTo: [null]"],
  ['enableAutoMtls: "true"', 'enableAutoMtls: The field must be a boolean, not "true"'],
  ["outboundTrafficPolicy: REGISTRY_ONLY", 'outboundTrafficPolicy: The field must be an object, not "REGISTRY_ONLY"'],
  [
    "outboundTrafficPolicy: { mode: REGISTRYONLY }",
    'outboundTrafficPolicy.mode: Unsupported value "REGISTRYONLY": did you mean "REGISTRY_ONLY"?',
  ],
  ["connectTimeout: 10", 'connectTimeout: The field must be a duration, which is a string such as "10s", not 10'],
  ["connectTimeout: 2h", "connectTimeout: The connectTimeout is an hour at most"],
  [
    "protocolDetectionTimeout: 5",
    'protocolDetectionTimeout: The field must be a duration, which is a string such as "10s", not 5',
  ],
  ["protocolDetectionTimeout: .5s"],
  [
    "protocolDetectionTimeout: 2562048h",
    "protocolDetectionTimeout: The field must be a duration, such as 10s or 1h30m",
  ],
  ["accessLogFil: /dev/stdout", 'ignored accessLogFil: Unknown field "accessLogFil": did you mean "accessLogFile"?'],
  ["default_config: { statusPort: 15020 }", 'ignored default_config: istiod reads this field only as "defaultConfig"'],
  [
    "discoverySelectors: [{ match_labels: { a: b } }]",
    'ignored discoverySelectors.0.match_labels: Unknown field "match_labels": did you mean "matchLabels"?',
  ],
  ["trustDomain: a_b", 'trustDomain: "a_b" is no trust domain, such as cluster.local'],
  [
    "trustDomain: corp.example.\ntrustDomainAliases: ['*']",
    'trustDomainAliases.0: "*" is no trust domain, such as cluster.local',
  ],
  ["proxyListenPort: 0", "proxyListenPort: A port is a number from 1 to 65535"],
  ["meshMTLS: { ecdhCurves: [P-256] }", "meshMTLS.ecdhCurves: meshMTLS has no ecdhCurves: set them in tlsDefaults"],
  ["serviceSettings: [{ hosts: ['*.a', 'a:1'] }]", 'serviceSettings.0.hosts.1: "a:1" is no host'],
  [
    "localityLbSetting: { distribute: [{ from: a, to: { b: 50 } }] }",
    "localityLbSetting.distribute.0.to: The shares of the localities sum to 50, not to 100",
  ],
  [
    "defaultTrafficPolicy: { connectionPool: {} }",
    "defaultTrafficPolicy.connectionPool: A connection pool needs tcp or http",
  ],
  ["defaultTrafficPolicy: { connectionPool: { http: { http2KeepAlive: { timeout: 1s } } } }"],
  ["defaultConfig: { concurrency: two }", 'defaultConfig.concurrency: The field must be an integer, not "two"'],
  [
    "defaultConfig: { proxyMetadata: { A: true } }",
    "defaultConfig.proxyMetadata.A: The field must be a string, not true",
  ],
  [
    "defaultConfig: { discoveryAddress: istiod.istio-system.svc }",
    'defaultConfig.discoveryAddress: "istiod.istio-system.svc" is no address, such as istiod.istio-system.svc:15012',
  ],
  ["defaultConfig: { discoveryAddress: '[::1]:15012', tracing: { zipkin: { address: '$(HOST_IP):9411' } } }"],
  ["defaultConfig: { drainDuration: 1500ms }", "defaultConfig.drainDuration: The drainDuration has whole seconds"],
  ["defaultConfig: { binaryPath: '' }", "defaultConfig.binaryPath: The binaryPath cannot be empty"],
  [
    "defaultConfig: { privateKeyProvider: { qat: {} } }",
    "defaultConfig.privateKeyProvider.qat: qat needs a pollDelay above 0",
  ],
  [
    "defaultConfig: { controlPlaneAuthPolicy: INHERIT }",
    "defaultConfig.controlPlaneAuthPolicy: The controlPlaneAuthPolicy is NONE or MUTUAL_TLS",
  ],
  [
    "extensionProviders: [{ name: a, envoyExtAuthzHttp: { service: b, port: 90000000000 } }]",
    "extensionProviders.0.envoyExtAuthzHttp.port: The field must be a number of the format uint32, and 90000000000 is outside its range",
  ],
];

describe("mesh configs", () => {
  for (const [mesh, ...expected] of cases)
    test(mesh.replaceAll("\n", " "), () => {
      const found = refusedMeshConfig(configMap(mesh)).map(({ at, message, isIgnored }) => {
        assert.deepEqual(at.slice(0, 2), ["data", "mesh"]);
        return `${isIgnored === true ? "ignored " : ""}${at.slice(2).join(".")}: ${message}`;
      });
      assert.deepEqual(found, expected);
    });

  test("a text that is no mesh config is left to the reader, however deep it is", () => {
    for (const mesh of [
      "a: [",
      "- a",
      "",
      "text",
      `a: ${"[".repeat(5_000)}${"]".repeat(5_000)}`,
      `${"{a: ".repeat(3_000)}b${"}".repeat(3_000)}`,
    ])
      for (const { isIgnored } of refusedMeshConfig(configMap(mesh))) assert.equal(isIgnored, true);
    for (const data of [undefined, "text", { mesh: 5 }, { mesh: null }])
      assert.deepEqual(refusedMeshConfig({ ...configMap(""), data }), []);
  });
});

describe("in admission", () => {
  const { policies } = loadPolicies([], rules);

  function answerTo(from: string, to: string) {
    const store = new MeshStore(defaultMeshSettings);
    store.set(withMeshConfigFaults(readAny(configMap(from)) as AnyObject, configMap(from)));
    const object = { ...configMap(to), metadata: { ...configMap(to).metadata, resourceVersion: "2" } };
    const gate = createGate({ mesh: () => store, rules, policies: () => policies });
    const {
      outcome,
      message = "",
      warnings,
    } = gate.validate(reviewed({ oldObject: configMap(from), object })) as unknown as {
      outcome: string;
      message?: string;
      warnings: readonly string[];
    };
    return { outcome, text: [message, ...warnings].join("\n") };
  }

  test("what istiod cannot use is denied", () => {
    const { outcome, text } = answerTo("{}", 'enableAutoMtls: "true"');
    assert.equal(outcome, "deny");
    assert.match(text, /enableAutoMtls/);
  });
  test("a field that istiod does not know is a warning", () => {
    const { outcome, text } = answerTo("{}", "accessLogFil: /dev/stdout");
    assert.equal(outcome, "warn");
    assert.match(text, /did you mean "accessLogFile"\?/);
  });
  test("what was there before does not deny another change", () => {
    const wrong = "defaultConfig: { concurrency: two }\n";
    assert.notEqual(answerTo(wrong, `${wrong}accessLogFile: /dev/stdout`).outcome, "deny");
  });
});
