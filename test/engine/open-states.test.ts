import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { audit } from "../../src/engine/audit.ts";
import { judge } from "../../src/engine/evaluate.ts";
import type { Finding } from "../../src/engine/finding.ts";
import { rulingsOf } from "../../src/engine/ruling.ts";
import { selectionOf } from "../../src/engine/setting.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { listens } from "../../src/mesh/authorization/enforcement.ts";
import { captureOf, isEnrolled } from "../../src/mesh/membership/capture.ts";
import { isTerminating, namespaceIn } from "../../src/mesh/membership/namespaces.ts";
import { isOwned, isProxy, type Workload } from "../../src/mesh/membership/workloads.ts";
import { acceptsPlaintext, mtlsOf } from "../../src/mesh/mtls/effective-mtls.ts";
import { mtlsOfWorkload } from "../../src/mesh/mtls/workload-mtls.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import type { ProfileName } from "../../src/policy/profiles.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import type { Mesh } from "../../src/view/view.ts";
import { anAmbientObject, anAmbientWorld } from "../meshes/ambient.ts";
import { anObject, someObjects } from "../meshes/arbitrary.ts";

// What is open in a protected namespace is found, however it came to be: stored while the webhook was away, restored from
// a backup, or there before Meshward was installed.

type Raw = Readonly<Record<string, unknown>>;

function build(objects: readonly AnyObject[]): MeshStore {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const object of objects) mesh.set(object);
  return mesh;
}
const isFinding = (result: object): result is Finding => "message" in result;
const auditOf = (ids: readonly string[], mesh: Mesh): readonly Finding[] =>
  [
    ...audit(
      rules.filter(({ id }) => ids.includes(id)),
      mesh,
    ),
  ].filter(isFinding);

const payments = (labels: Raw): Raw => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name: "payments", labels: { "meshward.io/protected": "true", ...labels } },
});
const sidecars = payments({ "istio-injection": "enabled" });
const ambient = payments({ "istio.io/dataplane-mode": "ambient" });
const workload = (pod: Raw = {}, spec: Raw = {}): Raw => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "api", namespace: "payments" },
  spec: { template: { metadata: { ...pod, labels: { app: "api", ...(pod.labels as Raw | undefined) } }, spec } },
});
const api = workload();
const peer = (spec: Raw, name = "default", where = "payments", labels: Raw = {}): Raw => ({
  apiVersion: "security.istio.io/v1",
  kind: "PeerAuthentication",
  metadata: { name, namespace: where, labels },
  spec,
});
const mode = (name: string): Raw => ({ mtls: { mode: name } });
const strict = peer(mode("STRICT"));
const selector = { selector: { matchLabels: { app: "api" } } };
const policy = (spec: Raw, where = "payments", metadata: Raw = {}): Raw => ({
  apiVersion: "security.istio.io/v1",
  kind: "AuthorizationPolicy",
  metadata: { name: "deny-all", namespace: where, ...metadata },
  spec,
});
const denyAll = policy({});

const plaintext = "namespace-mtls-not-strict";
const missing = "namespace-default-deny-missing";
const notInMesh = "namespace-not-in-mesh";
const outside = "workload-outside-mesh";
/** For modes that a policy of the namespace itself sets, which only this rule reports in an audit. */
const permissive = "peer-authentication-permissive";

const states: readonly (readonly [says: string, objects: readonly Raw[], rule: string])[] = [
  ["no PeerAuthentication at all", [sidecars, api, denyAll], plaintext],
  ["mesh-wide PERMISSIVE", [sidecars, api, denyAll, peer(mode("PERMISSIVE"), "default", "istio-system")], plaintext],
  [
    "mesh-wide DISABLE, in ambient mode",
    [ambient, api, denyAll, peer(mode("DISABLE"), "m", "istio-system")],
    plaintext,
  ],
  ["a mode that nothing sets", [sidecars, api, denyAll, peer({}), peer({}, "default", "istio-system")], plaintext],
  [
    "a STRICT policy of another revision",
    [sidecars, api, denyAll, peer(mode("STRICT"), "d", "payments", { "istio.io/rev": "x" })],
    plaintext,
  ],
  [
    "mesh-wide STRICT with an empty selector, in ambient mode",
    [ambient, api, denyAll, peer({ selector: {}, ...mode("STRICT") }, "m", "istio-system")],
    plaintext,
  ],
  [
    "STRICT for other workloads only",
    [sidecars, api, denyAll, peer({ selector: { matchLabels: { app: "web" } }, ...mode("STRICT") })],
    plaintext,
  ],
  ["PERMISSIVE in the namespace", [sidecars, api, denyAll, peer(mode("PERMISSIVE"))], permissive],
  [
    "DISABLE for a workload",
    [sidecars, api, denyAll, strict, peer({ ...selector, ...mode("DISABLE") }, "api")],
    permissive,
  ],
  [
    "PERMISSIVE at a port",
    [sidecars, api, denyAll, strict, peer({ ...selector, portLevelMtls: { 8080: { mode: "PERMISSIVE" } } }, "api")],
    permissive,
  ],
  ["no label enrolls the namespace", [payments({}), api, denyAll, strict], notInMesh],
  ["the namespace opts out", [payments({ "istio-injection": "disabled" }), api, denyAll, strict], notInMesh],
  [
    "a label with a misspelt value",
    [payments({ "istio.io/dataplane-mode": "Ambient" }), api, denyAll, strict],
    notInMesh,
  ],
  [
    "a workload without a sidecar",
    [sidecars, workload({ labels: { "sidecar.istio.io/inject": "false" } }), denyAll, strict],
    outside,
  ],
  [
    "a workload that ztunnel leaves out",
    [ambient, workload({ labels: { "istio.io/dataplane-mode": "none" } }), denyAll, strict],
    outside,
  ],
  ["a workload in the host network", [ambient, workload({}, { hostNetwork: true }), denyAll, strict], outside],
  [
    "a port that bypasses the sidecar",
    [sidecars, workload({ annotations: { "traffic.sidecar.istio.io/excludeInboundPorts": "8080" } }), denyAll, strict],
    outside,
  ],
  ["no default deny", [sidecars, api, strict], missing],
  [
    "a default deny as a dry run",
    [sidecars, api, strict, policy({}, "payments", { annotations: { "istio.io/dry-run": "true" } })],
    missing,
  ],
  ["a default deny with the action AUDIT", [sidecars, api, strict, policy({ action: "AUDIT" })], missing],
  [
    "a default deny of another revision",
    [sidecars, api, strict, policy({}, "payments", { labels: { "istio.io/rev": "x" } })],
    missing,
  ],
  ["a default deny with an empty selector, at ztunnel", [ambient, api, strict, policy({ selector: {} })], missing],
  [
    "a default deny for other workloads only",
    [sidecars, api, strict, policy({ selector: { matchLabels: { app: "web" } } })],
    missing,
  ],
  [
    "a default deny that the mesh lifts",
    [sidecars, api, strict, denyAll, policy({ rules: [{}] }, "istio-system")],
    missing,
  ],
];

const now = new Date("2026-06-01T00:00:00Z");
const read = (raw: Raw): AnyObject => {
  const object = readAny(raw);
  assert.ok(object);
  return object;
};

describe("an audit finds what is open in a protected namespace, once", () => {
  for (const [says, objects, rule] of states)
    test(says, () => {
      const mesh = build(objects.map(read));
      for (const profile of ["baseline", "strict"] as const satisfies readonly ProfileName[]) {
        const selection = selectionOf(loadPolicies([], rules, profile).policies, undefined, now);
        const results = [...audit(rules, mesh, selection)];
        assert.ok(results.every((result) => !("error" in result)));
        const rulings = rulingsOf(results.filter(isFinding), { after: mesh, exceptionFor: () => undefined });
        const found = rulings.filter(({ mode }) => mode !== "off" && mode !== "audit");
        const about = found.filter(({ finding }) =>
          [plaintext, permissive, notInMesh, outside, missing].includes(finding.rule.id),
        );
        const lines = about.map(({ finding, mode }) => `${finding.rule.id} ${mode}`);
        const expected = profile === "strict" || rule === permissive ? "deny" : "warn";
        assert.deepEqual(lines, [`${rule} ${expected}`], found.map(({ finding }) => finding.message).join("\n"));
      }
    });

  test("nothing, where nothing is open", () => {
    for (const namespace of [sidecars, ambient]) {
      const mesh = build([namespace, api, strict, denyAll].map(read));
      assert.deepEqual(auditOf([plaintext, permissive, notInMesh, outside, missing], mesh), []);
    }
  });
});

const numRuns = Number(process.env.MESHWARD_LAW_RUNS ?? 1500);
const aWorld: fc.Arbitrary<readonly AnyObject[]> = fc.oneof(someObjects(), anAmbientWorld);

const isWorkload = (object: AnyObject): object is Workload => object.kind === "Workload";

/** The workloads that the rules are about. */
function* judged(objects: readonly AnyObject[], mesh: Mesh) {
  for (const object of objects) {
    if (!isWorkload(object) || mesh.find("Workload", keyOf(object)) !== object) continue;
    const namespace = namespaceIn(mesh, object.metadata.namespace);
    const isLeftOut = isProxy(object) || isOwned(object) || object.malformed !== undefined;
    if (!isLeftOut && !isTerminating(namespace)) yield { workload: object, namespace };
  }
}

/** Whether a port of a workload that is certainly captured accepts plaintext, as explain says it. */
function isOpen(workload: Workload, mesh: Mesh): boolean {
  const namespace = namespaceIn(mesh, workload.metadata.namespace);
  const { mode, planes, as } = mtlsOfWorkload(workload, namespace, mtlsOf(namespace, mesh), {
    settings: mesh.settings,
  });
  if (mode === undefined || !["sidecar", "ambient"].includes(captureOf(workload, namespace, mesh.settings)))
    return false;
  return [mode, ...planes.flatMap((plane) => [...as(plane).ports.values()])].some(acceptsPlaintext);
}

describe("state rules and explain say one thing", () => {
  test("a captured workload accepts plaintext if and only if its namespace has a finding", () => {
    let open = 0;
    fc.assert(
      fc.property(aWorld, (objects) => {
        const mesh = build(objects);
        const found = auditOf([plaintext], mesh).filter(({ onlyWarns }) => onlyWarns === undefined);
        const accepting = [...judged(objects, mesh)].filter(
          ({ workload }) => listens(workload) && isOpen(workload, mesh),
        );
        const names = new Set(accepting.map(({ namespace }) => namespace.metadata.name));
        open += names.size;
        assert.deepEqual(new Set(found.map(({ subject }) => subject.metadata.name)), names);
      }),
      { numRuns },
    );
    assert.ok(open > 0);
  });

  test("a workload is outside the mesh if and only if it, or its namespace, has a finding", () => {
    let out = 0;
    fc.assert(
      fc.property(aWorld, (objects) => {
        const mesh = build(objects);
        const found = auditOf([outside], mesh).filter(({ key }) => key === "outside the mesh");
        const subjects = new Set(found.map(({ subject }) => keyOf(subject)));
        const namespaces = new Set(auditOf([notInMesh], mesh).map(({ subject }) => subject.metadata.name));
        for (const { workload, namespace } of judged(objects, mesh)) {
          const isRoot = namespace.metadata.name === mesh.settings.rootNamespace;
          const isOutside = !isRoot && captureOf(workload, namespace, mesh.settings) === "none";
          out += Number(isOutside);
          assert.equal(subjects.has(keyOf(workload)), isOutside, keyOf(workload));
          if (isOutside)
            assert.ok(namespaces.has(namespace.metadata.name) || isEnrolled(namespace, mesh.settings) === undefined);
        }
      }),
      { numRuns },
    );
    assert.ok(out > 0);
  });

  test("a change that introduces plaintext leaves some workload open that was not, or was not there", () => {
    let introduced = 0;
    fc.assert(
      fc.property(aWorld, fc.oneof(anObject, anAmbientObject), (objects, object) => {
        const view = build(objects);
        const old = view.find(object.kind, keyOf(object));
        const change = { old: old?.implied ? undefined : old, object };
        const { findings, before, after } = judge(
          rules.filter(({ id }) => id === plaintext),
          view,
          [change],
        );
        const workloads = [...after.all("Workload")].filter(isWorkload);
        const opened = new Set(
          [...judged(workloads, after)]
            .filter(({ workload }) => listens(workload) && isOpen(workload, after))
            .filter(({ workload }) => {
              const was = before.find("Workload", keyOf(workload));
              return (
                was === undefined ||
                !isWorkload(was) ||
                captureOf(was, namespaceIn(before, was.metadata.namespace), before.settings) !== "none"
              );
            })
            .map(({ namespace }) => namespace.metadata.name),
        );
        for (const finding of findings) {
          if (!finding.introduced || finding.onlyWarns !== undefined) continue;
          introduced++;
          assert.ok(opened.has(finding.subject.metadata.name), finding.message);
        }
      }),
      { numRuns },
    );
    assert.ok(introduced > 0);
  });
});
