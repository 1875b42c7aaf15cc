import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Decision } from "../../src/admission/review.ts";
import { createGate } from "../../src/admission/gate.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import type { ProfileName } from "../../src/policy/profiles.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { type Raw, reviewed } from "./requests.ts";

// Series of changes, each harmless by itself, that leave a protected namespace open. The step that does it is reported:
// the profile baseline warns, and strict denies it.

const namespace = (labels: Raw, name = "payments"): Raw => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name, labels },
});
const guarded = { "meshward.io/protected": "true" };
const sidecars = { ...guarded, "istio-injection": "enabled" };
const ambient = { ...guarded, "istio.io/dataplane-mode": "ambient" };

interface PodParts {
  readonly labels?: Raw;
  readonly annotations?: Raw;
  readonly spec?: Raw;
  readonly kind?: string;
  readonly replicas?: number;
}
function workload(
  name: string,
  { labels = {}, annotations = {}, spec = {}, kind = "Deployment", replicas }: PodParts = {},
): Raw {
  const ports = [{ name: "main", image: name, ports: [{ containerPort: 8080 }] }];
  const pod = { metadata: { labels: { app: name, ...labels }, annotations }, spec: { containers: ports, ...spec } };
  const metadata = { name, namespace: "payments" };
  if (kind === "Pod") return { apiVersion: "v1", kind, metadata: { ...metadata, ...pod.metadata }, spec: pod.spec };
  return {
    apiVersion: kind === "Job" ? "batch/v1" : "apps/v1",
    kind,
    metadata,
    spec: { replicas, selector: { matchLabels: { app: name } }, template: pod },
  };
}
const security = (kind: string, name: string, spec: Raw, where = "payments"): Raw => ({
  apiVersion: "security.istio.io/v1",
  kind,
  metadata: { name, namespace: where, creationTimestamp: "2026-01-01T00:00:00Z" },
  spec,
});
const peer = (mode: string, where = "payments"): Raw =>
  security("PeerAuthentication", "default", { mtls: { mode } }, where);
const strict = peer("STRICT");
const meshStrict = peer("STRICT", "istio-system");
const denyAll = security("AuthorizationPolicy", "deny-all", {});

interface Step {
  readonly old?: Raw;
  readonly object?: Raw;
  /** The rules that speak; with `strict`, another mode in that profile. */
  readonly warned?: readonly string[];
  readonly denied?: readonly string[];
  readonly strict?: { readonly warned?: readonly string[]; readonly denied?: readonly string[] };
}
const deleted = (old: Raw, says: Omit<Step, "old" | "object"> = {}): Step => ({ old, ...says });
const created = (object: Raw, says: Omit<Step, "old" | "object"> = {}): Step => ({ object, ...says });
const updated = (old: Raw, object: Raw, says: Omit<Step, "old" | "object"> = {}): Step => ({ old, object, ...says });

const plaintext = "namespace-mtls-not-strict";
const missing = "namespace-default-deny-missing";
const notInMesh = "namespace-not-in-mesh";
const outside = "workload-outside-mesh";
/** Warned in baseline, denied in strict. */
const found = (...ids: readonly string[]): Pick<Step, "warned" | "strict"> => ({
  warned: ids,
  strict: { denied: ids },
});
/** Warned in both. */
const warned = (...ids: readonly string[]): Pick<Step, "warned"> => ({ warned: ids });

const api = workload("api");
const web = workload("web");
const injectFalse: PodParts = { labels: { "sidecar.istio.io/inject": "false" } };

interface Sequence {
  readonly name: string;
  readonly there: readonly Raw[];
  readonly steps: readonly Step[];
  readonly documents?: readonly Raw[];
  readonly user?: string;
}

const closed = [namespace(sidecars), strict, denyAll, api];

const sequences: readonly Sequence[] = [
  {
    name: "workloads are deleted, STRICT is deleted, workloads are made again",
    there: closed,
    steps: [
      deleted(api),
      deleted(strict, warned(plaintext)),
      created(api, found(plaintext)),
      created(web, found(plaintext)),
    ],
  },
  {
    name: "workloads are deleted, the mesh-wide STRICT is deleted, workloads are made again",
    there: [namespace(ambient), meshStrict, denyAll, api],
    steps: [
      deleted(api),
      deleted(meshStrict, warned("namespace-mesh-mtls-weakened", plaintext)),
      created(api, found(plaintext)),
    ],
  },
  {
    name: "workloads are deleted, STRICT becomes UNSET, workloads are made again",
    there: closed,
    steps: [
      deleted(api),
      updated(strict, security("PeerAuthentication", "default", {}), warned(plaintext)),
      created(api, found(plaintext)),
    ],
  },
  {
    name: "workloads are deleted, the default deny is deleted, workloads are made again",
    there: closed,
    steps: [
      deleted(api),
      deleted(denyAll, warned(missing)),
      created(api, found(missing)),
      created(web, found(missing)),
    ],
  },
  {
    name: "workloads are deleted, the default deny becomes a dry run, workloads are made again",
    there: closed,
    steps: [
      deleted(api),
      updated(
        denyAll,
        {
          ...denyAll,
          metadata: { name: "deny-all", namespace: "payments", annotations: { "istio.io/dry-run": "true" } },
        },
        warned(missing),
      ),
      created(api, found(missing)),
    ],
  },
  {
    name: "workloads are deleted, the default deny gets the action AUDIT, workloads are made again",
    there: closed,
    steps: [
      deleted(api),
      updated(denyAll, security("AuthorizationPolicy", "deny-all", { action: "AUDIT" }), warned(missing)),
      created(api, found(missing)),
    ],
  },
  {
    name: "the only workload has a default deny of its own, and the next one has none",
    there: [
      namespace(sidecars),
      strict,
      security("AuthorizationPolicy", "api", {
        selector: { matchLabels: { app: "api" } },
        rules: [{ from: [{ source: { namespaces: ["payments"] } }] }],
      }),
      api,
    ],
    steps: [created(web, found(missing))],
  },
  {
    name: "kubectl replace --force of a workload, outside the mesh",
    there: closed,
    steps: [deleted(api), created(workload("api", injectFalse), found(outside))],
  },
  ...(
    [
      ["with the label of the sidecar", injectFalse],
      ["with the annotation of the sidecar", { annotations: { "sidecar.istio.io/inject": "false" } }],
      ["in the host network", { spec: { hostNetwork: true } }],
      ["a DaemonSet in the host network", { kind: "DaemonSet", spec: { hostNetwork: true } }],
      ["a Job", { kind: "Job", ...injectFalse }],
      ["a Pod", { kind: "Pod", ...injectFalse }],
      ["a StatefulSet", { kind: "StatefulSet", ...injectFalse }],
      ["without one port", { annotations: { "traffic.sidecar.istio.io/excludeInboundPorts": "8080" } }],
      ["without any port", { annotations: { "sidecar.istio.io/interceptionMode": "NONE" } }],
    ] as const
  ).map(
    ([name, parts]): Sequence => ({
      name: `a new workload outside the mesh: ${name}`,
      there: closed,
      steps: [created(workload("web", parts), found(outside))],
    }),
  ),
  {
    name: "a new workload that ztunnel does not capture",
    there: [namespace(ambient), strict, denyAll],
    steps: [created(workload("web", { labels: { "istio.io/dataplane-mode": "none" } }), found(outside))],
  },
  {
    name: "a new workload that bypasses ztunnel",
    there: [namespace(ambient), strict, denyAll],
    steps: [
      created(workload("web", { annotations: { "ambient.istio.io/bypass-inbound-capture": "true" } }), found(outside)),
    ],
  },
  {
    name: "workloads are deleted, the namespace leaves the mesh, workloads are made again",
    there: closed,
    steps: [
      deleted(api),
      updated(namespace(sidecars), namespace(guarded), warned(notInMesh)),
      created(api, found(outside)),
      created(web, found(outside)),
    ],
  },
  {
    name: "workloads are deleted, the namespace opts out, workloads are made again",
    there: closed,
    steps: [
      deleted(api),
      updated(namespace(sidecars), namespace({ ...guarded, "istio-injection": "disabled" }), warned(notInMesh)),
      created(api, found(outside)),
    ],
  },
  {
    name: "a workload is scaled to nothing, STRICT is deleted",
    there: closed,
    steps: [
      updated(workload("api", { replicas: 2 }), workload("api", { replicas: 0 })),
      deleted(strict, { denied: ["namespace-mtls-weakened"] }),
    ],
  },
  {
    name: "a workload is scaled to nothing, and back outside the mesh",
    there: closed,
    steps: [
      updated(api, workload("api", { replicas: 0 })),
      updated(workload("api", { replicas: 0 }), workload("api", { ...injectFalse, replicas: 2 }), {
        denied: ["workload-leaves-mesh"],
      }),
    ],
  },
  {
    name: "a new workload takes the labels that an old policy exempts",
    there: [
      namespace(sidecars),
      strict,
      denyAll,
      security("PeerAuthentication", "old", {
        selector: { matchLabels: { app: "old" } },
        mtls: { mode: "PERMISSIVE" },
      }),
    ],
    steps: [created(workload("old"), found(plaintext))],
  },
  {
    name: "the same, with an exception for the policy",
    there: [
      namespace(sidecars),
      strict,
      denyAll,
      security("PeerAuthentication", "old", {
        selector: { matchLabels: { app: "old" } },
        mtls: { mode: "PERMISSIVE" },
      }),
    ],
    documents: [exceptionFor("peer-authentication-permissive", "old")],
    steps: [created(workload("old")), updated(namespace(sidecars), namespace({ ...sidecars, team: "a" }))],
  },
  {
    name: "a workload outside the mesh has an exception, for the rule about leaving or the one about the state",
    there: closed,
    documents: [exceptionFor("workload-leaves-mesh", "agent"), exceptionFor("workload-outside-mesh", "node")],
    steps: [
      created(workload("agent", injectFalse)),
      created(workload("node", { kind: "DaemonSet", spec: { hostNetwork: true } })),
      updated(namespace(sidecars), namespace({ ...sidecars, team: "a" })),
    ],
  },
  {
    name: "the namespace becomes protected by its label: what is open is said, and not denied",
    there: [namespace({ "istio-injection": "enabled" }), api, workload("agent", injectFalse)],
    steps: [
      updated(namespace({ "istio-injection": "enabled" }), namespace(sidecars), warned(missing, plaintext, notInMesh)),
    ],
  },
  {
    name: "a namespace outside the mesh becomes protected by its label",
    there: [namespace({}), denyAll, api],
    steps: [updated(namespace({}), namespace(guarded), warned(notInMesh))],
  },
  {
    name: "the namespace is deleted and made again, protected by its name",
    there: [],
    documents: [
      {
        apiVersion: "meshward.io/v1alpha1",
        kind: "MeshwardPolicy",
        metadata: { name: "payments" },
        spec: { protectedNamespaces: { names: ["payments"] } },
      },
    ],
    steps: [created(namespace({}), warned(missing, notInMesh)), created(api, found(missing, outside))],
  },
  {
    name: "in the order of a first installation: each object is said once, and nothing is denied",
    there: [meshStrict],
    steps: [
      created(namespace(sidecars), warned(missing)),
      created(denyAll),
      created(api),
      created(web),
      updated(api, workload("api", { labels: { version: "v2" } })),
    ],
  },
  {
    name: "existing workloads are updated in a namespace that is open: nothing is said",
    there: [namespace(sidecars), api],
    steps: [updated(api, workload("api", { labels: { version: "v2" } })), deleted(api)],
  },
  {
    name: "an open namespace is closed: nothing is said",
    there: [namespace(sidecars), api],
    steps: [created(denyAll), created(peer("STRICT"))],
  },
  {
    name: "a GitOps controller, which may still apply the policies, is warned, but a workload outside the mesh is its own",
    there: [namespace(sidecars)],
    user: "system:serviceaccount:flux-system:kustomize-controller",
    steps: [created(api, warned(missing, plaintext)), created(workload("web", injectFalse), found(outside))],
  },
];

function exceptionFor(rule: string, name: string): Raw {
  return {
    apiVersion: "meshward.io/v1alpha1",
    kind: "MeshwardException",
    metadata: { name: `${rule}-${name}`, namespace: "payments" },
    spec: {
      rules: [rule],
      match: { objects: { names: [name] } },
      reason: "It is accepted.",
      owner: "team-payments",
      expiresAt: "2027-01-01T00:00:00Z",
    },
  };
}

const readAs = (raw: Raw): AnyObject => {
  const object = readAny(raw);
  assert.ok(object);
  return object;
};

const ids = (lines: readonly string[], pattern: RegExp): readonly string[] =>
  [...new Set(lines.flatMap((line) => pattern.exec(line)?.[1] ?? []))].sort();
const warnings = (decision: Decision) => ids(decision.warnings, /\[([a-z0-9-]+)\]/);
const denials = ({ message = "" }: Decision) => ids(message.split("\n"), /^- \[([a-z0-9-]+)\]/);

interface Run extends Pick<Sequence, "there" | "documents" | "user"> {
  readonly profile: ProfileName;
}

function gateOf({ there, documents = [], profile }: Run) {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const raw of there) mesh.set(readAs(raw));
  const sources = documents.map((raw) => ({ raw, file: "policies.yaml", locate: () => ({ line: 1, column: 1 }) }));
  const { policies, errors } = loadPolicies(sources, rules, profile);
  assert.deepEqual(errors, []);
  const now = () => new Date("2026-06-01T00:00:00Z");
  return { mesh, gate: createGate({ mesh: () => mesh, rules, policies: () => policies, now }) };
}

function run(steps: readonly Step[], asked: Run): void {
  const { mesh, gate } = gateOf(asked);
  for (const [i, { old, object, ...says }] of steps.entries()) {
    const expected = asked.profile === "strict" ? (says.strict ?? says) : says;
    const by = asked.user === undefined ? {} : { user: asked.user };
    const decision = gate.validate(reviewed({ oldObject: old, object, ...by }));
    const said = `step ${i + 1}: ${[decision.message, ...decision.warnings].join("\n")}`;
    assert.deepEqual(denials(decision), (expected.denied ?? []).toSorted(), said);
    assert.deepEqual(warnings(decision), (expected.warned ?? []).toSorted(), said);
    // A denied change is not stored, and the series goes on without it.
    if (!decision.allowed) continue;
    if (old !== undefined) mesh.delete(readAs(old).kind, keyOf(readAs(old)));
    if (object !== undefined) mesh.set(readAs(object));
  }
}

for (const profile of ["baseline", "strict"] as const satisfies readonly ProfileName[])
  describe(`series of changes, profile ${profile}`, () => {
    for (const { name, steps, ...asked } of sequences) test(name, () => run(steps, { ...asked, profile }));
  });
