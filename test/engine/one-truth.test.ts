import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { audit } from "../../src/engine/audit.ts";
import { judge } from "../../src/engine/evaluate.ts";
import type { Finding } from "../../src/engine/finding.ts";
import { selectionOf } from "../../src/engine/setting.ts";
import { explanationOf } from "../../src/explain/explanation.ts";
import type { Target } from "../../src/explain/target.ts";
import { identityOf, idOf, keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, type ObjectOf, readObject } from "../../src/kube/object.ts";
import { type TlsPath, tlsPathsInto, writtenBy } from "../../src/mesh/client-tls/paths.ts";
import { captureOf } from "../../src/mesh/membership/capture.ts";
import { interceptionOf, isIntercepted } from "../../src/mesh/membership/interception.ts";
import { namespaceIn } from "../../src/mesh/membership/namespaces.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../../src/mesh/membership/workloads.ts";
import { refusesApiServer } from "../../src/mesh/mtls/api-server-calls.ts";
import { acceptsPlaintext, mtlsModeOf, mtlsOf } from "../../src/mesh/mtls/effective-mtls.ts";
import { isWide } from "../../src/mesh/mtls/peer-authentications.ts";
import { mtlsSwitchedOff, type Weakening, weakenings } from "../../src/mesh/mtls/weakenings.ts";
import { fullHost, hostOfService } from "../../src/mesh/traffic/hosts.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import type { ExplanationLine } from "../../src/report/explanation.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import type { Mesh } from "../../src/view/view.ts";
import { anAmbientObject, anAmbientWorld } from "../meshes/ambient.ts";
import { anObject, someObjects, twoControlPlanes } from "../meshes/arbitrary.ts";

// What rules find and what explain says are one truth: explain is held to findings by the data of its lines.

const numRuns = Number(process.env.MESHWARD_LAW_RUNS ?? 1500);
const { policies } = loadPolicies([], rules);

function build(objects: readonly AnyObject[], settings = defaultMeshSettings): MeshStore {
  const mesh = new MeshStore(settings);
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
    /** Repeats the draws while chance has left a case out, five times at most. */
    assertAll: <Ts>(law: fc.IProperty<Ts>, runs: number) => {
      const unreached = () => [...counts].flatMap(([name, count]) => (count > 0 ? [] : [name]));
      for (let round = 0; round < 5 && (round === 0 || unreached().length > 0); round++)
        fc.assert(law, { numRuns: runs });
      assert.deepEqual(unreached(), [], "no draw reached these cases");
    },
  };
}

const labelsOfNamespace = fc.constantFrom<Record<string, string>>(
  { "istio-injection": "enabled" },
  { "istio-injection": "enabled" },
  { "istio.io/dataplane-mode": "ambient" },
  { "istio.io/rev": "tag" },
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
const deploymentOf = (namespace: string, { labels, annotations = {} }: { labels?: object; annotations?: object }) =>
  readObject("Workload", {
    kind: "Deployment",
    metadata: { name: "x", namespace },
    spec: {
      template: {
        metadata: { annotations, labels: { app: "x", ...labels } },
        spec: { containers: [{ name: "c", ports: [{ containerPort: 80 }] }] },
      },
    },
  });
const namespaceWith = (name: string, labels: object) =>
  readObject("Namespace", { kind: "Namespace", metadata: { name, labels } });
const servedNamespace = fc.constantFrom("a", "b").chain((name) =>
  fc
    .record({
      labels: labelsOfNamespace,
      template: podTemplate,
      mode: fc.constantFrom("STRICT", "STRICT", "STRICT", "PERMISSIVE", "DISABLE"),
    })
    .map(({ labels, template, mode }): readonly AnyObject[] => [
      namespaceWith(name, labels),
      readObject("Service", {
        kind: "Service",
        metadata: { name: "x", namespace: name },
        spec: { selector: { app: "x" }, ports: [{ port: 80 }] },
      }),
      deploymentOf(name, template),
      readObject("PeerAuthentication", { metadata: { name: "y", namespace: name }, spec: { mtls: { mode } } }),
    ]),
);
/** A workload that refuses plaintext, until the older policy goes. */
const shadowedExemption = fc
  .tuple(
    fc.constantFrom("a", "b"),
    fc.constantFrom<object>(
      { mtls: { mode: "PERMISSIVE" } },
      { mtls: { mode: "STRICT" }, portLevelMtls: { 80: { mode: "PERMISSIVE" } } },
    ),
  )
  .map(([namespace, exempting]): readonly AnyObject[] =>
    [{ mtls: { mode: "STRICT" } }, exempting].map((modes, i) =>
      readObject("PeerAuthentication", {
        metadata: { namespace, name: `exempt-${i}`, creationTimestamp: `2026-01-0${i + 1}T00:00:00Z` },
        spec: { selector: { matchLabels: { app: "x" } }, ...modes },
      }),
    ),
  );
/** What alone denies by default: in a namespace, or for one workload. */
const guard = fc
  .tuple(fc.constantFrom("a", "b"), fc.constantFrom<object>({}, { selector: { matchLabels: { app: "x" } } }))
  .map(([namespace, scope]): readonly AnyObject[] => [
    readObject("AuthorizationPolicy", {
      kind: "AuthorizationPolicy",
      metadata: { name: "guard", namespace },
      spec: { ...scope, rules: [{ from: [{ source: { namespaces: ["c"] } }] }] },
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
/** Of what stands in these worlds. */
const aRelabelling = fc
  .tuple(
    fc.constantFrom("a", "b"),
    fc.oneof(
      podTemplate,
      labelsOfNamespace.map((labels) => ({ ofNamespace: labels })),
    ),
  )
  .map(([name, to]) => ("ofNamespace" in to ? namespaceWith(name, to.ofNamespace) : deploymentOf(name, to)));
const aChange = fc.record({
  next: fc.oneof(anObject, anAmbientObject, aRelabelling),
  deleted: fc.option(fc.nat({ max: 4 }), { nil: undefined, freq: 2 }),
});
/** Worlds for changes: what stands last in them decides something. */
const aChangingWorld: fc.Arbitrary<readonly AnyObject[]> = fc.oneof(
  aTlsWorld,
  aTlsWorld,
  someObjects(),
  anAmbientWorld,
);
const aWorld: fc.Arbitrary<readonly AnyObject[]> = fc.oneof(aTlsWorld, someObjects(), anAmbientWorld);

const controlPlanes = fc.constantFrom(defaultMeshSettings, defaultMeshSettings, twoControlPlanes);

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
    cases.assertAll(
      fc.property(fc.oneof(aTlsWorld, aTlsWorld, someObjects()), (objects) => {
        const mesh = build(objects);
        for (const finding of auditOf(["destination-rule-plaintext"], mesh)) {
          const [rule, ...defining] = finding.related ?? [];
          assert.ok(rule !== undefined);
          const hosts = hostsExplained(defining, mesh);
          const isSure = finding.onlyWarns === undefined;
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
      numRuns,
    );
  });

  test("of what explain says is refused or sent in plaintext because of a DestinationRule, a rule's fact knows", () => {
    const cases = tally(["refused", "plaintext"]);
    cases.assertAll(
      fc.property(aTlsWorld, fc.constantFrom("a", "b"), fc.constantFrom(...clients), (objects, name, client) => {
        const mesh = build(objects);
        const lines = ofHost(`x.${name}.svc.cluster.local`, client, mesh);
        for (const line of lines.filter(({ key, objects: by }) => key === "request" && by !== undefined)) {
          if (line.text.includes("send mTLS") || !hasValue(line, ["refused", "plaintext"])) continue;
          cases.add(hasValue(line, ["refused"]) ? "refused" : "plaintext");
          // A ServiceEntry of another namespace can define the host for its own pods.
          const paths: readonly TlsPath[] = clients.flatMap((of) => mesh.get(tlsPathsInto, namespaceIn(mesh, of)));
          assert.ok(
            paths.some((path) => isAbout(line, writtenBy(path))),
            line.text,
          );
        }
      }),
      numRuns,
    );
  });

  test("of a missing subset: the VirtualService is followed, or explain names the one that is", () => {
    const cases = tally(["followed", "hidden", "blocked"]);
    const isRead = (object: AnyObject) => object.kind === "VirtualService" || object.kind === "DestinationRule";
    const isForSidecars = ({ subject, at }: Finding): boolean =>
      subject.kind === "VirtualService" &&
      subject.spec.hosts.length > 0 &&
      subject.spec.gateways.every((gateway) => gateway === "mesh") &&
      at[1] === "http";
    const linesFor = ({ metadata, spec }: ObjectOf<"VirtualService">, mesh: Mesh): readonly Line[] =>
      spec.hosts
        .map((host) => fullHost(host, metadata.namespace, mesh.settings.domain))
        .flatMap((host) => clients.flatMap((client) => ofHost(host, client, mesh)));
    cases.assertAll(
      fc.property(fc.array(anObject, { minLength: 40, maxLength: 60 }), (objects) => {
        const mesh = build(objects.filter(isRead));
        for (const finding of auditOf(["virtual-service-subset-not-found"], mesh).filter(isForSidecars)) {
          const { subject, related: [owner] = [], onlyWarns, message, fix } = finding;
          if (subject.kind !== "VirtualService" || (owner === undefined && onlyWarns !== undefined)) continue;
          const lines = linesFor(subject, mesh);
          const isBlocked = owner !== undefined && fix?.includes("follow neither") === true;
          cases.add(isBlocked ? "blocked" : owner === undefined ? "followed" : "hidden");
          const isSaid = (line: Line) =>
            isBlocked
              ? line.value === "blocked" && isAbout(line, subject) && line.text.includes(idOf(owner))
              : line.key === "virtualService" && line.value === idOf(owner ?? subject);
          assert.ok(lines.some(isSaid), message);
        }
      }),
      numRuns,
    );
  });

  test("of PeerAuthentications that let plaintext in", () => {
    const cases = tally(["counts", "does not count", "of a workload"]);
    cases.assertAll(
      fc.property(aWorld, controlPlanes, (objects, settings) => {
        const mesh = build(objects, settings);
        for (const finding of auditOf(["peer-authentication-permissive"], mesh)) {
          const policy = finding.subject as ObjectOf<"PeerAuthentication">;
          // Istio's validation refuses ports without a selector, and nothing reads them.
          if (isWide(policy) && finding.at[1] === "portLevelMtls") continue;
          for (const lines of explanationsOfPolicy(policy, mesh)) checkLetIn(finding, lines, mesh, cases.add);
        }
      }),
      Math.ceil(numRuns / 3),
    );
  });

  test("of changes that weaken mTLS", () => {
    const cases = tally(["namespace", "workload", "port"]);
    cases.assertAll(
      fc.property(aChangingWorld, aChange, controlPlanes, (objects, asked, settings) => {
        for (const { finding, before, after } of introduced(objects, asked, "namespace-mtls-weakened", settings)) {
          const { name } = finding.subject.metadata;
          const sideOf = (mesh: Mesh) => ({ object: namespaceIn(mesh, name), mesh });
          const sides = [sideOf(before), sideOf(after)] as const;
          const byRules = { autoMtls: true, isSet: () => false };
          const switchedOff = mtlsSwitchedOff(byRules, byRules, false);
          const found = [...weakenings(...sides), ...weakenings(...sides, undefined, switchedOff)];
          assert.ok(found.length > 0, finding.message);
          for (const weakening of found) {
            cases.add(caseOf(weakening));
            assert.ok(isWeakHere(weakening, name, after), `${finding.message}\n${said(ofNamespace(name, after))}`);
          }
        }
      }),
      numRuns * 2,
    );
  });

  test("of default deny", () => {
    const ids = ["namespace-default-deny-missing", "authorization-policy-without-default-deny"];
    const cases = tally([...ids, "lost in the namespace", "lost by a workload"]);
    cases.assertAll(
      fc.property(aChangingWorld, aChange, controlPlanes, (objects, asked, settings) => {
        const mesh = build(objects, settings);
        for (const { rule, subject, message } of auditOf(ids, mesh)) {
          // What a waypoint does stands in explanations of hosts only, with what is for their Service beside it.
          if (message.startsWith("Waypoint ")) continue;
          cases.add(rule.id);
          const { name, namespace } = subject.metadata;
          // A policy that denies by default can miss single workloads, or be lifted for them.
          const workloads = /^(Workloads |The default deny has no effect)/.test(message)
            ? mesh.related(workloadsOfNamespace, namespaceIn(mesh, name)).map((one) => ofWorkload(one, mesh))
            : [];
          const open = [ofNamespace(namespace || name, mesh), ...workloads].filter(
            (lines) => authorizationIn(lines) === "open",
          );
          assert.ok(open.length > 0, message);
        }
        for (const { finding, after } of introduced(objects, asked, "namespace-default-deny-removed", settings))
          checkDefaultDenyLost(finding, after, cases.add);
      }),
      numRuns * 2,
    );
  });

  test("of what leaves the mesh", () => {
    const cases = tally(["workload", "port", "namespace"]);
    cases.assertAll(
      fc.property(aChangingWorld, aChange, (objects, asked) => {
        for (const { finding, after } of introduced(objects, asked, "namespace-leaves-mesh")) {
          if (finding.onlyWarns !== undefined) continue;
          // explain describes pods that are created now, and these are running.
          if (
            /until they are recreated(; ztunnel stops capturing pods that were not recreated .*)?$/.test(
              finding.message,
            )
          )
            continue;
          cases.add("namespace");
          const lines = ofNamespace(finding.subject.metadata.name, after);
          assert.ok(
            lines.some(({ key, value }) => key === "workload" && value === "none"),
            finding.message,
          );
        }
        for (const { finding, after } of introduced(objects, asked, "workload-leaves-mesh"))
          if (finding.onlyWarns === undefined) checkWorkloadLeft(finding, after, cases.add);
      }),
      numRuns * 4,
    );
  });

  test("where explain says that plaintext is taken, no rule takes the workload for STRICT", () => {
    const cases = tally(["STRICT", "PERMISSIVE", "DISABLE", "none", "past the mesh", "arrival", "API server"]);
    cases.assertAll(
      fc.property(aWorld, controlPlanes, (objects, settings) => {
        const mesh = build(objects, settings);
        for (const workload of objects.filter(isWorkload)) {
          if (isProxy(workload)) continue;
          const lines = ofWorkload(workload, mesh);
          checkModes(workload, lines, mesh, cases.add);
          checkArrivals(workload, lines, mesh, cases.add);
          checkApiServer(workload, lines, mesh, cases.add);
        }
      }),
      numRuns,
    );
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
    assert.match(finding?.message ?? "", /they are STRICT and reset the connections$/);
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

function checkLetIn(
  { subject, message }: Finding,
  lines: readonly Line[],
  mesh: Mesh,
  add: (name: string) => void,
): void {
  const policy = subject as ObjectOf<"PeerAuthentication">;
  const own = lines.find((line) => line.key === "mtls.policy" && isAbout(line, policy));
  const selecting = lines.find((line) => line.key === "mtls.selecting" && isAbout(line, policy));
  assert.ok(own ?? selecting, `${message}\n${said(lines)}`);
  if (own === undefined) return;
  add(own.isIdle ? "does not count" : "counts");
  if (policy.spec.selector !== undefined) add("of a workload");
  if (!own.isIdle) assert.ok(lines.some(isOpenMtls) || isOpenAsSidecar(policy, mesh), `${message}\n${said(lines)}`);
}

/** A port that ztunnel is not told of: explain has those of the other data plane in words only. */
const isOpenAsSidecar = (policy: ObjectOf<"PeerAuthentication">, mesh: Mesh): boolean =>
  [
    ...mtlsOf(namespaceIn(mesh, policy.metadata.namespace), mesh)
      .of(policy.spec.selector?.matchLabels ?? {}, "sidecar")
      .ports.values(),
  ].some(acceptsPlaintext);

const isOpenMtls = ({ key, value }: Line): boolean =>
  ["mtls", "mtls.otherPlane", "mtls.port"].includes(key) && value !== "STRICT";

const authorizationIn = (lines: readonly Line[]) => lines.find(({ key }) => key === "authorization")?.value;

interface AskedChange {
  readonly next: AnyObject;
  /** Which of the objects goes, counted from the last; undefined: `next` is created, or takes the place of what is there. */
  readonly deleted: number | undefined;
}
interface Introduced {
  readonly finding: Finding;
  readonly before: Mesh;
  readonly after: Mesh;
}

/** What a rule finds in a change of one object. */
function introduced(
  objects: readonly AnyObject[],
  { next, deleted }: AskedChange,
  id: string,
  settings = defaultMeshSettings,
): readonly Introduced[] {
  const mesh = build(objects, settings);
  const target = deleted === undefined ? next : objects.at(-1 - deleted);
  if (target === undefined) return [];
  const there = mesh.find(target.kind, keyOf(target));
  const old = there?.implied ? undefined : there;
  const judged = rules.filter((rule) => rule.id === id);
  const change = deleted === undefined ? { old, object: target } : { old };
  const { before, after, findings, errors } = judge(judged, mesh, [change]);
  for (const { error } of errors) throw error;
  return findings.filter((finding) => finding.introduced).map((finding) => ({ finding, before, after }));
}

function checkDefaultDenyLost({ subject, message }: Finding, after: Mesh, add: (name: string) => void): void {
  const { name } = subject.metadata;
  if (message.startsWith("The default deny")) {
    add("lost in the namespace");
    assert.equal(authorizationIn(ofNamespace(name, after)), "open", message);
  }
  for (const workload of after.related(workloadsOfNamespace, namespaceIn(after, name))) {
    if (!message.startsWith(`${idOf(workload)} loses`)) continue;
    add("lost by a workload");
    assert.equal(authorizationIn(ofWorkload(workload, after)), "open", message);
  }
}

function checkWorkloadLeft({ subject, key, message }: Finding, after: Mesh, add: (name: string) => void): void {
  const lines = ofWorkload(subject as Workload, after);
  add(key === "leaves the mesh" ? "workload" : "port");
  if (key === "leaves the mesh") {
    assert.equal(lines.find((line) => line.key === "capture")?.value, "none");
    return;
  }
  const ports = lines.filter((line) => line.key === "mtls.port");
  const lost = key === "port all" ? ports : ports.filter(({ of }) => key === `port ${of}`);
  assert.ok(lost.length > 0 && lost.every(({ value }) => value === "none"), `${message}\n${said(lines)}`);
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

/** What rules ask for: mtlsModeOf, and interceptionOf for what goes past the mesh. */
function checkModes(workload: Workload, lines: readonly Line[], mesh: Mesh, add: (name: string) => void): void {
  const namespace = namespaceIn(mesh, workload.metadata.namespace);
  const capture = captureOf(workload, namespace, mesh.settings);
  const whole = lines.find(({ key }) => key === "mtls")?.value;
  add(typeof whole === "string" ? whole : "");
  assert.equal(whole, capture === "none" ? "none" : mtlsModeOf(workload, namespace, mesh)?.mode, said(lines));
  const interception = interceptionOf(workload.pod, capture);
  for (const { of, value, text } of lines.filter(({ key }) => key === "mtls.port")) {
    const port = Number(of);
    const isSeen = capture === "unknown" || isIntercepted(interception, port);
    if (!isSeen) add("past the mesh");
    assert.equal(value, isSeen ? mtlsModeOf(workload, namespace, mesh, port)?.mode : "none", text);
  }
}

function checkArrivals(workload: Workload, lines: readonly Line[], mesh: Mesh, add: (name: string) => void): void {
  const paths = mesh.get(tlsPathsInto, namespaceIn(mesh, workload.metadata.namespace));
  for (const { arrivals } of paths)
    for (const arrival of arrivals) {
      if (!arrival.workloads.some((one) => identityOf(one) === identityOf(workload))) continue;
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
