import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import type { Report } from "../../src/report/report.ts";
import { ListWatchServer } from "../sources/cluster/list-watch-server.ts";
import { kubeconfigFor } from "../sources/cluster/live-cluster.ts";
import { againstRules, head, inDestination, inRoute, mistakes, peerAuthentication } from "./schema-mistakes.ts";
import { type Ran, meshward } from "./terminal.ts";

const root = mkdtempSync(join(tmpdir(), "meshward-schemas-"));
after(() => rmSync(root, { recursive: true }));
let files = 0;

function fileWith(text: string): string {
  const file = join(root, `${files++}.yaml`);
  writeFileSync(file, text);
  return file;
}

interface Checked extends Ran {
  readonly report: Report;
  /** `mode line path: message` of each finding of the rule. */
  readonly invalid: readonly string[];
}

async function check(text: string, ...options: readonly string[]): Promise<Checked> {
  const ran = await meshward(["check", fileWith(text), "--format", "json", ...options]);
  const report = JSON.parse(ran.out) as Report;
  const own = report.findings.filter(({ rule }) => rule === "object-invalid");
  const invalid = own.map(({ mode, line, path, message }) => `${mode} ${line} ${path}: ${message}`);
  return { ...ran, report, invalid };
}

describe("built-in schemas", () => {
  for (const { title, wrong, said, right } of mistakes)
    test(title, async () => {
      const found = await check(wrong);
      assert.deepEqual([...found.invalid].sort(), [...said].sort());
      assert.equal(found.code, said.some((line) => line.startsWith("deny")) ? 1 : 0);
      assert.deepEqual((await check(right)).invalid, []);
    });

  for (const { title, wrong, right } of againstRules)
    test(`against a rule: ${title}`, async () => {
      const found = await check(wrong);
      assert.ok(found.invalid.length > 0 && found.invalid.every((line) => line.startsWith("deny")), found.out);
      assert.equal(found.code, 1);
      assert.deepEqual((await check(right)).invalid, []);
    });

  test("what istiod's webhook refuses is denied, once the definition of the kind allows it", async () => {
    const policy = (spec: string) =>
      `apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: a }\nspec: ${spec}\n`;
    const refused = await check(policy("{ action: DENY, selector: { matchLabels: { app: a } } }"));
    assert.deepEqual(refused.invalid, [
      "deny 4 spec.action: A policy with action DENY and without rules never applies: the rule {} is for every request",
    ]);
    assert.equal(refused.code, 1);
    assert.deepEqual((await check(policy("{ action: DENY, rules: [{}] }"))).invalid, []);
    // A field that does not exist is the only thing that is said.
    const unknown = await check(policy("{ action: DENY, rule: [{}] }"));
    assert.deepEqual(unknown.invalid.length, 1);
    assert.match(unknown.invalid[0] ?? "", /spec\.rule: /);
  });

  test("expressions are read, and kinds that no rule reads are validated as well", async () => {
    const telemetry = (expression: string) =>
      `apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: { name: a }\nspec: { accessLogging: [{ filter: { expression: "${expression}" } }] }\n`;
    assert.deepEqual((await check(telemetry("response.code >="))).invalid, [
      'deny 4 spec.accessLogging[0].filter.expression: "response.code >=" is no expression in CEL: it cannot be read from ">=" on',
    ]);
    assert.deepEqual((await check(telemetry("response.code >= 400 // errors"))).invalid, []);
    const group =
      "apiVersion: networking.istio.io/v1\nkind: WorkloadGroup\nmetadata: { name: a }\nspec: { template: {}, probe: { grpc: { port: 80 } } }\n";
    assert.deepEqual((await check(group)).invalid, [
      "deny 4 spec.probe: istiod knows the methods httpGet, tcpSocket and exec of a probe, and this probe has none",
    ]);
  });

  test("a value of the wrong type is said once, by object-malformed", async () => {
    const { report } = await check(inDestination("{ host: shop, subset: 2 }"));
    assert.deepEqual(
      report.findings.map(({ rule, path }) => `${rule} ${path}`),
      ["object-malformed spec.http[0].route[0].destination.subset"],
    );
  });

  test("what another rule says about the same field is said once", async () => {
    const { report } = await check(inDestination("{ host: shop, port: { number: 70000 } }"));
    assert.deepEqual(
      report.findings.map(({ rule }) => rule),
      ["virtual-service-route-rejected"],
    );
  });

  test("a required field that another rule misses is said once, and once more where that rule only warns", async () => {
    const text = inDestination("{ subset: v1 }");
    assert.deepEqual((await check(text)).invalid, []);
    const policies = fileWith(`apiVersion: meshward.io/v1alpha1
kind: MeshwardPolicy
metadata: { name: routes }
spec: { rules: [{ id: virtual-service-route-rejected, mode: warn }] }
`);
    assert.deepEqual((await check(text, "--policies", policies)).invalid, [
      'deny 7 spec.http[0].route[0].destination: The required field "host" is missing',
    ]);
  });

  test("what rests on a placeholder warns, and is known when the variable is given", async () => {
    const text = `${peerAuthentication}  mtls: { mode: "\${MODE}" }\n`;
    const { code, report } = await check(text);
    assert.deepEqual([code, report.summary.deny], [0, 0]);
    assert.match(report.findings[0]?.lowered[0]?.step ?? "", /placeholder|limitedEffect/);
    assert.deepEqual((await check(text, "--substitute", "MODE=STRICT")).invalid, []);
    assert.equal((await check(text, "--substitute", "MODE=STRIKT")).invalid.length, 1);
  });

  test("a policy sets the mode of the rule, also for kinds that no rule reads", async () => {
    const policies = fileWith(`apiVersion: meshward.io/v1alpha1
kind: MeshwardPolicy
metadata: { name: schemas }
spec: { rules: [{ id: object-invalid, mode: warn }] }
`);
    const { code, invalid } = await check(inRoute("retires: {}"), "--policies", policies);
    assert.deepEqual([code, invalid.map((line) => line.slice(0, 4))], [0, ["warn"]]);
    const telemetry = `${head("Telemetry", "telemetry.istio.io/v1")}  tracings: []\n`;
    assert.match((await check(telemetry)).invalid.join(), /^deny /);
    assert.match((await check(telemetry, "--policies", policies)).invalid.join(), /^warn /);
  });

  test("objects of other groups, of core kinds and of istioctl are not checked", async () => {
    const { invalid } = await check(`apiVersion: v1
kind: Service
metadata: { name: Shop_X }
spec: { port: [] }
---
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
spec: { profile: minimal }
`);
    assert.deepEqual(invalid, []);
  });

  test("a mistake that the mesh has already is no mistake of the change", async () => {
    const stored = fileWith(inRoute("retires: { attempts: 3 }"));
    const { code, report } = await check(inRoute("retires: { attempts: 3 }\n      name: new"), "--mesh", stored);
    assert.deepEqual(
      report.findings.map(({ rule, mode, introduced }) => [rule, mode, introduced]),
      [["object-invalid", "warn", false]],
    );
    assert.equal(code, 0);
  });
});

/** A definition of an API server with a version of its own, in which weights are called shares. */
const definition = (schema: string, kind = "PeerAuthentication") => `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: peerauthentications.security.istio.io }
spec:
  group: security.istio.io
  names: { kind: ${kind}, plural: peerauthentications }
  scope: Namespaced
  versions:
    - { name: v2, served: true, storage: true, schema: { openAPIV3Schema: ${schema} } }
    - { name: v1, served: false, storage: false, schema: { openAPIV3Schema: { type: object } } }
`;
const schema = JSON.stringify({
  type: "object",
  properties: {
    spec: {
      type: "object",
      required: ["share"],
      properties: {
        share: { type: "integer", minimum: 1, maximum: 10 },
        most: { type: "integer" },
        name: { type: "string", pattern: "^(a+)+$", maxLength: 100 },
        parts: {
          type: "array",
          "x-kubernetes-list-type": "map",
          "x-kubernetes-list-map-keys": ["name"],
          items: { type: "object", properties: { name: { type: "string" } } },
        },
        from: { "x-kubernetes-int-or-string": true },
        anything: {
          type: "object",
          "x-kubernetes-preserve-unknown-fields": true,
          properties: { a: { type: "string" } },
        },
      },
      "x-kubernetes-validations": [
        { rule: "!has(self.most) || self.share <= self.most", message: "share must not be more than most." },
        { rule: "self.share != oldSelf.share", message: "never evaluated" },
        { rule: "noSuchFunction(self.share)", message: "never evaluated" },
        { rule: "not CEL", message: "never evaluated" },
      ],
    },
  },
});
const later = head("PeerAuthentication", "security.istio.io/v2");
const wrong = `${later}  share: 4
  most: 3
  anything: { b: 1 }
  from: http
`;
const broken = `${later}  share: 11
  name: ${"a".repeat(50)}b
  parts: [{ name: a }, { name: a }]
  anything: { a: 1 }
  from: 1.5
`;
const ofBroken = [
  "deny 5 spec.share: The field must be at most 10, not 11",
  "deny 6 spec.name: The field must match the pattern ^(a+)+$",
  "deny 7 spec.parts[1]: The item has the same name as item 0",
  "deny 8 spec.anything.a: The field must be a string, not 1",
  "deny 9 spec.from: The field must be an integer or a string, not 1.5",
];
const notServed =
  'deny 1 apiVersion: The API server does not serve PeerAuthentication in version "security.istio.io/v1": its versions are v2';

describe("given definitions", () => {
  test("--crds replaces the built-in schemas of its kinds, and evaluates their rules", async () => {
    const crds = fileWith(definition(schema));
    assert.deepEqual((await check(wrong, "--crds", crds)).invalid, [
      "deny 4 spec: The definition of the kind does not allow this: share must not be more than most",
    ]);
    assert.deepEqual((await check(broken, "--crds", crds)).invalid, ofBroken);
    assert.deepEqual((await check(peerAuthentication.replace("spec:", ""), "--crds", crds)).invalid, [notServed]);
    assert.deepEqual((await check(inRoute("retires: {}"), "--crds", crds)).invalid.length, 1);
  });

  test("of a cluster, and of its capture", async (context) => {
    const server = new ListWatchServer();
    server.serve("v1", "Namespace", "namespaces");
    server.serve("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions");
    server.apply("customresourcedefinitions", {
      metadata: { name: "peerauthentications.security.istio.io" },
      spec: {
        group: "security.istio.io",
        names: { kind: "PeerAuthentication", plural: "peerauthentications" },
        versions: [{ name: "v2", served: true, schema: { openAPIV3Schema: JSON.parse(schema) as object } }],
      },
    });
    server.apply("customresourcedefinitions", {
      metadata: { name: "gateways.networking.istio.io" },
      spec: { group: "networking.istio.io", names: { kind: "Gateway" }, versions: "all" },
    });
    const kubeconfig = kubeconfigFor(context, await server.listen());
    context.after(() => server.close());
    const capture = join(root, "capture.json");
    assert.equal((await meshward(["capture", "-o", capture, "--kubeconfig", kubeconfig])).code, 0);
    for (const mesh of [
      ["--mesh", "cluster", "--kubeconfig", kubeconfig],
      ["--mesh", capture],
    ]) {
      const { invalid, error } = await check(broken, ...mesh);
      assert.deepEqual(invalid, ofBroken);
      assert.match(error, /a definition of --mesh \S+ is not used: .*spec\.versions; give one of apiextensions/);
      assert.deepEqual((await check(peerAuthentication.replace("spec:", ""), ...mesh)).invalid, [notServed]);
    }
  });

  test("a cluster that shows no definitions is named once, and built-in schemas are used", async (context) => {
    const server = new ListWatchServer();
    server.serve("v1", "Namespace", "namespaces");
    const kubeconfig = kubeconfigFor(context, await server.listen());
    context.after(() => server.close());
    const { invalid, error } = await check(inRoute("retires: {}"), "--mesh", "cluster", "--kubeconfig", kubeconfig);
    assert.equal(invalid.length, 1);
    assert.equal(error.match(/the cluster shows no CustomResourceDefinition of Istio/g)?.length, 1);
  });

  for (const [title, text, message] of [
    [
      "no definition of Istio",
      "apiVersion: v1\nkind: Service\nmetadata: { name: a }\n",
      /there is no CustomResourceDef/,
    ],
    [
      "of an old version",
      definition(schema).replace(/ {2}versions:[^]*/, "  version: v1\n"),
      /apiextensions\.k8s\.io\/v1$/,
    ],
    ["a schema that is none", definition("{ type: 1 }"), /v2 PeerAuthentication is not a structural schema/],
    ["a type that there is not", definition("{ type: objekt }"), /v2 PeerAuthentication is not a structural schema/],
    ["not YAML", "kind: CustomResourceDefinition\n a: [\n", /not valid YAML/],
  ] as const)
    test(`unusable: ${title}`, async () => {
      const { code, report, invalid } = await check(inRoute("retires: {}"), "--crds", fileWith(text));
      assert.equal(code, 2);
      assert.match(report.errors[0]?.message ?? "", message);
      assert.equal(report.errors.length, 1);
      assert.equal(invalid.length, 1, "the rest is still judged");
    });

  /** A definition of VirtualService with this schema of its spec. */
  const definitionOf = (spec: object, served = true) =>
    JSON.stringify({
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: "virtualservices.networking.istio.io" },
      spec: {
        group: "networking.istio.io",
        names: { kind: "VirtualService" },
        versions: [
          {
            name: "v1",
            served,
            schema: { openAPIV3Schema: { type: "object", properties: { spec: { type: "object", ...spec } } } },
          },
        ],
      },
    });
  const hosts = { type: "array", items: { type: "string" } };
  const http = { type: "array", items: { type: "object", "x-kubernetes-preserve-unknown-fields": true } };

  for (const [title, spec, said] of [
    [
      "a pattern that is none",
      { properties: { hosts: { ...hosts, items: { type: "string", pattern: "(?=a)" } }, http } },
      'spec.hosts[], the pattern "(?=a)" (error parsing regexp: invalid or unsupported Perl syntax: `(?=`)',
    ],
    [
      "a rule with syntax that is not known",
      { properties: { hosts, http }, "x-kubernetes-validations": [{ rule: "self.?hosts.hasValue()" }] },
      'spec, the rule "self.?hosts.hasValue()" (syntax error: ',
    ],
    [
      "a rule with a function that is not known",
      { properties: { hosts: { ...hosts, "x-kubernetes-validations": [{ rule: "self.isShiny()" }] }, http } },
      'spec.hosts, the rule "self.isShiny()" (',
    ],
    [
      "a format that is not known",
      { properties: { hosts: { ...hosts, items: { type: "string", format: "hostname" } }, http } },
      "spec.hosts[], the format hostname",
    ],
  ] as const)
    test(`${title} is said once, and the rest is checked`, async () => {
      const crds = fileWith(definitionOf(spec));
      const { code, invalid, error } = await check(
        `${inRoute("name: a")}---\n${inRoute("nam: a")}  exportTo: []\n`,
        "--crds",
        crds,
      );
      const notes = error.split("\n").filter((line) => line.includes("is not checked here"));
      assert.equal(notes.length, 1, error);
      assert.ok(notes[0]?.includes(`${crds}:1: the definition of VirtualService`) && notes[0].includes(said), error);
      assert.deepEqual(invalid, [
        'deny 18 spec.exportTo: Unknown field "exportTo": the fields here are hosts and http',
      ]);
      assert.equal(code, 1);
    });

  test("definitions that cannot be used, or that stand twice, are named, and the others count", async () => {
    const unserved = await check(inRoute("name: a"), "--crds", fileWith(definitionOf({}, false)));
    assert.equal(unserved.code, 2);
    assert.match(unserved.error, /no version of networking\.istio\.io VirtualService is served/);
    const twice = fileWith(`${definitionOf({})}\n---\n${definitionOf({ properties: { hosts } })}\n`);
    const found = await check(inRoute("name: a"), "--crds", twice);
    assert.match(found.error, /VirtualService\.networking\.istio\.io is defined more than once, in \S+:1 and \S+:\d/);
    assert.match(found.invalid.join(), /Unknown field "http"/);
  });

  test("a path that is not there", async () => {
    const { code, report, invalid } = await check(inRoute("retires: {}"), "--crds", join(root, "none"));
    assert.deepEqual([code, report.errors.length, invalid.length], [2, 1, 1]);
  });
});
