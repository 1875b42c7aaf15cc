import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { audit, judge } from "../../src/engine/evaluate.ts";
import type { Finding } from "../../src/engine/finding.ts";
import { selectionOf } from "../../src/engine/setting.ts";
import { explanationOf } from "../../src/explain/explanation.ts";
import type { Target } from "../../src/explain/target.ts";
import { identityOf, keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, type ObjectOf, readObject } from "../../src/kube/object.ts";
import { tlsPathsInto } from "../../src/mesh/client-tls/paths.ts";
import { captureOf } from "../../src/mesh/membership/capture.ts";
import { interceptionOf, isIntercepted } from "../../src/mesh/membership/interception.ts";
import { namespaceIn } from "../../src/mesh/membership/namespaces.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../../src/mesh/membership/workloads.ts";
import { refusesApiServer } from "../../src/mesh/mtls/api-server-calls.ts";
import { mtlsModeOf } from "../../src/mesh/mtls/effective-mtls.ts";
import { isWide } from "../../src/mesh/mtls/peer-authentications.ts";
import { type Weakening, weakenings } from "../../src/mesh/mtls/weakenings.ts";
import { hostOfService } from "../../src/mesh/traffic/hosts.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import type { ExplanationLine } from "../../src/report/explanation.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import type { Mesh } from "../../src/view/view.ts";
import { anAmbientObject, anAmbientWorld } from "../meshes/ambient.ts";
import { anObject, someObjects } from "../meshes/arbitrary.ts";

// What rules find and what explain says are one truth: explain is held to findings by the data of its lines.

const numRuns = Number(process.env.MESHWARD_LAW_RUNS ?? 1500);
const { policies } = loadPolicies([], rules);

function build(objects: readonly AnyObject[]): MeshStore {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const object of objects) mesh.set(object);
  return mesh;
}

interface Line extends ExplanationLine {
  /** It, or a line above it, has no effect. */
  readonly isIdle: boolean;
}
function* flat(lines: readonly ExplanationLine[], isIdle = false): Iterable<Line> {
  for (const line of lines) {
    const own = isIdle || line.counts === false;
    yield { ...line, isIdle: own };
    yield* flat(line.lines ?? [], own);
  }
}
const explained = (target: Target, mesh: Mesh): readonly Line[] => [
  ...flat(explanationOf(target, { mesh, policies, selection: selectionOf(policies), rules }).lines),
];
const ofNamespace = (name: string, mesh: Mesh) => explained({ kind: "namespace", name }, mesh);
const ofWorkload = ({ originKind, metadata: { namespace, name } }: Workload, mesh: Mesh) =>
  explained({ kind: "workload", originKind, namespace, name }, mesh);
const ofHost = (host: string, from: string, mesh: Mesh) => explained({ kind: "host", host, from }, mesh);
const isAbout = ({ objects = [] }: ExplanationLine, object: AnyObject) =>
  objects.some((other) => identityOf(other) === identityOf(object));
const said = (lines: readonly ExplanationLine[]) =>
  lines.map(({ key, of = "", value, text }) => `${key} ${of} ${JSON.stringify(value)}: ${text}`).join("\n");

function auditOf(ids: readonly string[], mesh: Mesh): readonly Finding[] {
  const judged = rules.filter(({ id }) => ids.includes(id));
  return [...audit(judged, mesh)].flatMap((result) => {
    if ("error" in result) throw result.error;
    return "message" in result ? [result] : [];
  });
}

/** How often each case came up: a law that nothing tried says nothing. */
function tally(cases: readonly string[]) {
  const counts = new Map(cases.map((name) => [name, 0]));
  return {
    add: (name: string) => counts.set(name, (counts.get(name) ?? 0) + 1),
    check: () => {
      for (const [name, count] of counts) assert.ok(count > 0, `${name}: no draw reached it`);
    },
  };
}

const labelsOfNamespace = fc.constantFrom<Record<string, string>>(
  { "istio-injection": "enabled" },
  { "istio-injection": "enabled" },
  { "istio.io/dataplane-mode": "ambient" },
  {},
);
const podTemplate = fc.constantFrom<{ labels?: object; annotations?: object }>(
  {},
  {},
  {},
  { labels: { "sidecar.istio.io/inject": "true" } },
  { labels: { "sidecar.istio.io/inject": "false" } },
  { annotations: { "sidecar.istio.io/status": "{}" } },
  { annotations: { "traffic.sidecar.istio.io/excludeInboundPorts": "80" } },
);
const tls = fc.constantFrom<object>(
  { tls: { mode: "DISABLE" } },
  { tls: {} },
  { tls: { mode: "SIMPLE" } },
  { tls: { mode: "MUTUAL", credentialName: "c" } },
  { portLevelSettings: [{ port: { number: 80 }, tls: { mode: "DISABLE" } }] },
);
const destinationRule = fc
  .record({
    namespace: fc.constantFrom("a", "b", "istio-system"),
    host: fc.constantFrom("x.a.svc.cluster.local", "x.b.svc.cluster.local", "*.local", "*.example.com"),
    workloadSelector: fc.constantFrom(undefined, undefined, { matchLabels: { app: "x" } }),
    trafficPolicy: fc.option(tls, { nil: undefined, freq: 4 }),
    subset: fc.option(tls, { nil: undefined }),
  })
  .map(({ namespace, subset, ...spec }) => {
    const subsets = subset === undefined ? [] : [{ name: "v1", labels: { version: "v1" }, trafficPolicy: subset }];
    return readObject("DestinationRule", { metadata: { name: "tls", namespace }, spec: { ...spec, subsets } });
  });
const servedNamespace = fc.constantFrom("a", "b").chain((name) =>
  fc
    .record({
      labels: labelsOfNamespace,
      template: podTemplate,
      mode: fc.constantFrom("STRICT", "STRICT", "PERMISSIVE"),
    })
    .map(({ labels, template, mode }): readonly AnyObject[] => [
      readObject("Namespace", { kind: "Namespace", metadata: { name, labels } }),
      readObject("Service", {
        kind: "Service",
        metadata: { name: "x", namespace: name },
        spec: { selector: { app: "x" }, ports: [{ port: 80 }] },
      }),
      readObject("Workload", {
        kind: "Deployment",
        metadata: { name: "x", namespace: name },
        spec: {
          template: {
            metadata: { ...template, labels: { app: "x", ...template.labels } },
            spec: { containers: [{ name: "c", ports: [{ containerPort: 80 }] }] },
          },
        },
      }),
      readObject("PeerAuthentication", { metadata: { name: "y", namespace: name }, spec: { mtls: { mode } } }),
    ]),
);
/** A workload that refuses plaintext at each port, until the older policy goes. */
const shadowedExemption = fc.constantFrom("a", "b").map((namespace): readonly AnyObject[] =>
  [
    { name: "first", creationTimestamp: "2026-01-01T00:00:00Z", portLevelMtls: {} },
    { name: "second", creationTimestamp: "2026-01-02T00:00:00Z", portLevelMtls: { 80: { mode: "PERMISSIVE" } } },
  ].map(({ portLevelMtls, ...metadata }) =>
    readObject("PeerAuthentication", {
      metadata: { ...metadata, namespace },
      spec: { selector: { matchLabels: { app: "x" } }, mtls: { mode: "STRICT" }, portLevelMtls },
    }),
  ),
);
/** What denies by default one workload only, as long as it is there. */
const guard = fc.constantFrom("a", "b").map((namespace): readonly AnyObject[] => [
  readObject("AuthorizationPolicy", {
    kind: "AuthorizationPolicy",
    metadata: { name: "guard", namespace },
    spec: { selector: { matchLabels: { app: "x" } }, rules: [{ from: [{ source: { namespaces: ["c"] } }] }] },
  }),
]);
/** Worlds in which what clients send meets what workloads take. */
const aTlsWorld = fc
  .tuple(
    servedNamespace,
    servedNamespace,
    fc.array(destinationRule, { maxLength: 3 }),
    fc.oneof(fc.constant([]), shadowedExemption, guard),
    someObjects(8),
  )
  .map(([first, second, written, more, others]) => unique([...others, ...second, ...first, ...written, ...more]));
const unique = (objects: readonly AnyObject[]): readonly AnyObject[] => [
  ...new Map(objects.map((object) => [identityOf(object), object])).values(),
];
const aWorld: fc.Arbitrary<readonly AnyObject[]> = fc.oneof(aTlsWorld, someObjects(), anAmbientWorld);

const isWorkload = (object: AnyObject): object is Workload => object.kind === "Workload";

/** Namespaces that clients may be in, with one that no object names. */
const clients = ["a", "b", "istio-system", "elsewhere"];

function hostsOf(objects: readonly AnyObject[], mesh: Mesh): readonly string[] {
  const found = objects.flatMap((object) => {
    if (object.kind === "Service") return [hostOfService(object, mesh.settings.domain)];
    return object.kind === "ServiceEntry" ? object.spec.hosts : [];
  });
  return [...new Set(found)];
}

/** The explanations of all hosts that a finding is about, for each client. */
const hostsExplained = (related: readonly AnyObject[], mesh: Mesh) =>
  hostsOf(related, mesh).flatMap((host) => clients.map((client) => ofHost(host, client, mesh)));

const hasValue = ({ value }: ExplanationLine, wanted: readonly string[]): boolean =>
  Array.isArray(value) && (value as readonly string[]).some((one) => wanted.includes(one));

describe("audit and explain say one thing", () => {
  test("of what clients send: what a rule finds, explain says of the host", () => {
    const cases = tally([
      "plaintext, certain",
      "plaintext, uncertain",
      "refused TLS",
      "of a ServiceEntry",
      "of a subset",
    ]);
    fc.assert(
      fc.property(fc.oneof(aTlsWorld, aTlsWorld, someObjects()), (objects) => {
        const mesh = build(objects);
        for (const finding of auditOf(["destination-rule-plaintext"], mesh)) {
          const [rule, ...defining] = finding.related ?? [];
          assert.ok(rule !== undefined);
          const hosts = hostsExplained(defining, mesh);
          const isSure = finding.atMost === undefined;
          cases.add(isSure ? "plaintext, certain" : "plaintext, uncertain");
          if (defining.some(({ kind }) => kind === "ServiceEntry")) cases.add("of a ServiceEntry");
          if (finding.message.includes(" in subset ")) cases.add("of a subset");
          const isSaid = (line: Line) =>
            isSure
              ? line.key === "request" && !line.isIdle && hasValue(line, ["plaintext", "refused"])
              : line.key === "destinationRule" || line.key === "request";
          assert.ok(
            hosts.some((lines) => lines.some((line) => isSaid(line) && isAbout(line, rule))),
            `${finding.message}\n${hosts.map(said).join("\n\n")}`,
          );
        }
        for (const { subject, related = [], message } of auditOf(["destination-rule-tls-breaks-strict"], mesh)) {
          cases.add("refused TLS");
          const hosts = hostsExplained(related, mesh);
          assert.ok(
            hosts.some((lines) =>
              lines.some((line) => line.key === "request" && hasValue(line, ["refused"]) && isAbout(line, subject)),
            ),
            `${message}\n${hosts.map(said).join("\n\n")}`,
          );
        }
      }),
      { numRuns },
    );
    cases.check();
  });

  test("of what explain says is refused or sent in plaintext because of a DestinationRule, a rule's fact knows", () => {
    const cases = tally(["refused", "plaintext"]);
    fc.assert(
      fc.property(aTlsWorld, fc.constantFrom("a", "b"), fc.constantFrom(...clients), (objects, name, client) => {
        const mesh = build(objects);
        const lines = ofHost(`x.${name}.svc.cluster.local`, client, mesh);
        for (const line of lines.filter(({ key, objects: by }) => key === "request" && by !== undefined)) {
          if (line.text.includes("send mTLS") || !hasValue(line, ["refused", "plaintext"])) continue;
          cases.add(hasValue(line, ["refused"]) ? "refused" : "plaintext");
          const paths = tlsPathsInto(namespaceIn(mesh, name), mesh);
          assert.ok(
            paths.some(({ rule }) => isAbout(line, rule)),
            line.text,
          );
        }
      }),
      { numRuns },
    );
    cases.check();
  });

  test("of PeerAuthentications that let plaintext in", () => {
    const cases = tally(["counts", "does not count", "of a workload"]);
    fc.assert(
      fc.property(aWorld, (objects) => {
        const mesh = build(objects);
        for (const { subject, message, at } of auditOf(["peer-authentication-permissive"], mesh)) {
          const policy = subject as ObjectOf<"PeerAuthentication">;
          // Istio's validation refuses ports without a selector, and nothing reads them.
          if (isWide(policy) && at[1] === "portLevelMtls") continue;
          for (const lines of explanationsOfPolicy(policy, mesh)) {
            const own = lines.find((line) => line.key === "mtls.policy" && isAbout(line, policy));
            const selecting = lines.find((line) => line.key === "mtls.selecting" && isAbout(line, policy));
            assert.ok(own ?? selecting, `${message}\n${said(lines)}`);
            if (own === undefined) continue;
            cases.add(own.isIdle ? "does not count" : "counts");
            if (policy.spec.selector !== undefined) cases.add("of a workload");
            if (!own.isIdle) assert.ok(lines.some(isOpenMtls), `${message}\n${said(lines)}`);
          }
        }
      }),
      { numRuns: Math.ceil(numRuns / 3) },
    );
    cases.check();
  });

  test("of changes that weaken mTLS", () => {
    const cases = tally(["namespace", "workload", "port"]);
    fc.assert(
      fc.property(
        aWorld,
        fc.oneof(anObject, anAmbientObject),
        fc.nat(),
        fc.boolean(),
        (objects, next, at, isDeletion) => {
          const changed = change(objects, next, at, isDeletion);
          if (changed === undefined) return;
          const { before, after, findings } = changed;
          for (const finding of findings.filter(({ rule }) => rule.id === "namespace-mtls-weakened")) {
            const { name } = finding.subject.metadata;
            const sides = [before, after].map((mesh) => ({ object: namespaceIn(mesh, name), mesh }));
            const found = weakenings(...(sides as [(typeof sides)[0], (typeof sides)[0]]));
            assert.ok(found.length > 0);
            for (const weakening of found) {
              cases.add(caseOf(weakening));
              assert.ok(isWeakHere(weakening, name, after), `${finding.message}\n${said(ofNamespace(name, after))}`);
            }
          }
        },
      ),
      { numRuns: numRuns * 2 },
    );
    cases.check();
  });

  test("of default deny", () => {
    const ids = ["namespace-default-deny-missing", "authorization-policy-without-default-deny"];
    const cases = tally([...ids, "waypoint", "lost in the namespace", "lost by a workload"]);
    fc.assert(
      fc.property(
        aWorld,
        fc.oneof(anObject, anAmbientObject),
        fc.nat(),
        fc.boolean(),
        (objects, next, at, isDeletion) => {
          const mesh = build(objects);
          for (const { rule, subject, message } of auditOf(ids, mesh)) {
            if (message.startsWith("Waypoint ")) {
              cases.add("waypoint");
              continue;
            }
            cases.add(rule.id);
            const lines = ofNamespace(subject.metadata.namespace || subject.metadata.name, mesh);
            assert.equal(authorizationIn(lines), "open", message);
          }
          const { findings = [], after } = change(objects, next, at, isDeletion) ?? {};
          for (const { rule, subject, message } of findings) {
            if (rule.id !== "namespace-default-deny-removed" || after === undefined) continue;
            const { name } = subject.metadata;
            if (message.startsWith("The default deny")) {
              cases.add("lost in the namespace");
              assert.equal(authorizationIn(ofNamespace(name, after)), "open", message);
            }
            for (const workload of after.related(workloadsOfNamespace, namespaceIn(after, name))) {
              if (!message.startsWith(`Deployment ${name}/${workload.metadata.name} loses`)) continue;
              cases.add("lost by a workload");
              assert.equal(authorizationIn(ofWorkload(workload, after)), "open", message);
            }
          }
        },
      ),
      { numRuns: numRuns * 2 },
    );
    cases.check();
  });

  test("of what leaves the mesh", () => {
    const cases = tally(["workload", "port", "namespace"]);
    fc.assert(
      fc.property(
        aWorld,
        fc.oneof(anObject, anAmbientObject),
        fc.nat(),
        fc.boolean(),
        (objects, next, at, isDeletion) => {
          const { findings = [], after } = change(objects, next, at, isDeletion) ?? {};
          for (const { rule, subject, message, key, atMost } of findings) {
            if (after === undefined || atMost !== undefined) continue;
            if (rule.id === "namespace-leaves-mesh") {
              cases.add("namespace");
              const lines = ofNamespace(subject.metadata.name, after);
              assert.ok(
                lines.some((line) => line.key === "workload" && line.value === "none"),
                message,
              );
            }
            if (rule.id !== "workload-leaves-mesh") continue;
            const lines = ofWorkload(subject as Workload, after);
            cases.add(key === "leaves the mesh" ? "workload" : "port");
            const ports = lines.filter((line) => line.key === "mtls.port");
            const lost = key === "port all" ? ports : ports.filter(({ of }) => key === `port ${of}`);
            if (key === "leaves the mesh") assert.equal(lines.find((line) => line.key === "capture")?.value, "none");
            else
              assert.ok(lost.length > 0 && lost.every(({ value }) => value === "none"), `${message}\n${said(lines)}`);
          }
        },
      ),
      { numRuns: numRuns * 2 },
    );
    cases.check();
  });

  test("where explain says that plaintext is taken, no rule takes the workload for STRICT", () => {
    const cases = tally(["STRICT", "PERMISSIVE", "DISABLE", "none", "past the mesh", "arrival", "API server"]);
    fc.assert(
      fc.property(aWorld, (objects) => {
        const mesh = build(objects);
        for (const workload of objects.filter(isWorkload)) {
          if (isProxy(workload)) continue;
          const namespace = namespaceIn(mesh, workload.metadata.namespace);
          const capture = captureOf(workload, namespace);
          const lines = ofWorkload(workload, mesh);
          const whole = lines.find(({ key }) => key === "mtls");
          const known = mtlsModeOf(workload, namespace, mesh)?.mode;
          cases.add(String(whole?.value));
          assert.equal(whole?.value, capture === "none" ? "none" : known, said(lines));
          const interception = interceptionOf(workload.pod, capture);
          for (const { of, value, text } of lines.filter(({ key }) => key === "mtls.port")) {
            const port = Number(of);
            const isSeen = capture === "unknown" || isIntercepted(interception, port);
            if (!isSeen) cases.add("past the mesh");
            assert.equal(value, isSeen ? mtlsModeOf(workload, namespace, mesh, port)?.mode : "none", text);
          }
          checkArrivals(workload, lines, mesh, cases.add);
          checkApiServer(workload, lines, mesh, cases.add);
        }
      }),
      { numRuns },
    );
    cases.check();
  });

  test("a sidecar in an ambient namespace follows its DestinationRules", () => {
    const metadata = { name: "w", namespace: "a" };
    const mesh = build([
      readObject("Namespace", {
        kind: "Namespace",
        metadata: { name: "a", labels: { "istio.io/dataplane-mode": "ambient", "meshward.io/protected": "true" } },
      }),
      readObject("Workload", {
        kind: "Deployment",
        metadata,
        spec: { template: { metadata: { labels: { app: "w", "sidecar.istio.io/inject": "true" } } } },
      }),
      readObject("Service", {
        kind: "Service",
        metadata,
        spec: { selector: { app: "w" }, ports: [{ port: 80 }] },
      }),
      readObject("PeerAuthentication", {
        kind: "PeerAuthentication",
        metadata: { name: "strict", namespace: "a" },
        spec: { mtls: { mode: "STRICT" } },
      }),
      readObject("DestinationRule", {
        kind: "DestinationRule",
        metadata,
        spec: { host: "w", trafficPolicy: { tls: { mode: "DISABLE" } } },
      }),
    ]);
    const [finding] = auditOf(["destination-rule-plaintext"], mesh);
    assert.match(finding?.message ?? "", /they are STRICT and refuse it$/);
    const lines = ofHost("w.a.svc.cluster.local", "a", mesh);
    const request = lines.find(({ key }) => key === "request");
    assert.deepEqual(request?.value, ["refused"], said(lines));
    assert.equal(lines.find(({ key }) => key === "destinationRule")?.isIdle, false);
  });
});

/** The explanations in which a policy must be found: of its namespace, and of a workload that it selects. */
function explanationsOfPolicy(policy: ObjectOf<"PeerAuthentication">, mesh: Mesh): readonly (readonly Line[])[] {
  const { namespace } = policy.metadata;
  const labels = Object.entries(policy.spec.selector?.matchLabels ?? {});
  const selected = mesh
    .related(workloadsOfNamespace, namespaceIn(mesh, namespace))
    .filter((workload) => !isProxy(workload) && labels.every(([key, value]) => workload.pod.labels[key] === value));
  return [ofNamespace(namespace, mesh), ...selected.map((workload) => ofWorkload(workload, mesh))];
}

const isOpenMtls = ({ key, value }: Line): boolean =>
  ["mtls", "mtls.otherPlane", "mtls.port"].includes(key) && value !== "STRICT";

const authorizationIn = (lines: readonly Line[]) => lines.find(({ key }) => key === "authorization")?.value;

interface Changed {
  readonly before: Mesh;
  readonly after: Mesh;
  readonly findings: readonly Finding[];
}

/** A change of one of the objects, or by another one; undefined: there is nothing to change. */
function change(objects: readonly AnyObject[], next: AnyObject, at: number, isDeletion: boolean): Changed | undefined {
  const mesh = build(objects);
  const target = isDeletion ? objects[at % Math.max(1, objects.length)] : next;
  if (target === undefined) return undefined;
  const there = mesh.find(target.kind, keyOf(target));
  const old = there?.implied ? undefined : there;
  if (isDeletion && old === undefined) return undefined;
  const { before, after, findings, errors } = judge(rules, mesh, [isDeletion ? { old } : { old, object: target }]);
  for (const { error } of errors) throw error;
  return { before, after, findings: findings.filter(({ introduced }) => introduced) };
}

function caseOf({ of, port }: Weakening): string {
  if (of === "namespace") return "namespace";
  if ("labels" in of) return "labels";
  return port === undefined ? "workload" : "port";
}

/** What has only some labels is nothing that explain could be asked about. */
function isWeakHere({ of, port }: Weakening, name: string, after: Mesh): boolean {
  if (of !== "namespace" && "labels" in of) return true;
  const lines = of === "namespace" ? ofNamespace(name, after) : ofWorkload(of, after);
  if (of === "namespace")
    return lines.some((line) => isOpenMtls(line) || (line.key === "workload" && line.value !== "STRICT"));
  return lines.some(
    (line) => isOpenMtls(line) && (line.key !== "mtls.port" || port === undefined || line.of === String(port)),
  );
}

function checkArrivals(workload: Workload, lines: readonly Line[], mesh: Mesh, add: (name: string) => void): void {
  for (const { arrivals } of tlsPathsInto(namespaceIn(mesh, workload.metadata.namespace), mesh))
    for (const arrival of arrivals) {
      if (arrival.workload === undefined || identityOf(arrival.workload) !== identityOf(workload)) continue;
      add("arrival");
      const strict = lines.some(({ key, value }) => ["mtls", "mtls.port"].includes(key) && value === "STRICT");
      // Where nobody has shown the labels of the namespace, rules judge it as one with sidecars.
      if (arrival.server?.mode === "STRICT" && arrival.capture !== "unknown") assert.ok(strict, said(lines));
    }
}

/** A Service of one workload, at the port of its pods. */
function checkApiServer(workload: Workload, lines: readonly Line[], mesh: Mesh, add: (name: string) => void): void {
  const { namespace } = workload.metadata;
  const port = lines.find(({ key, of }) => key === "mtls.port" && of === "80");
  if (port === undefined || port.value === "STRICT" || isShared(workload, mesh)) return;
  add("API server");
  const service = readObject("Service", {
    kind: "Service",
    metadata: { name: "called", namespace },
    spec: { selector: workload.pod.labels, ports: [{ port: 443, targetPort: 80 }] },
  });
  const called = { namespace, name: "called", port: 443 };
  assert.equal(refusesApiServer(called, service, namespaceIn(mesh, namespace), mesh), false, said(lines));
}

/** Whether another workload has these labels, too. */
const isShared = ({ pod, metadata }: Workload, mesh: Mesh): boolean =>
  Object.keys(pod.labels).length === 0 ||
  mesh
    .related(workloadsOfNamespace, namespaceIn(mesh, metadata.namespace))
    .filter((other) => Object.entries(pod.labels).every(([key, value]) => other.pod.labels[key] === value)).length > 1;
