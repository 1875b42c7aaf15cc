import assert from "node:assert/strict";
import { readChange } from "../../src/admission/change.ts";
import { createGate } from "../../src/admission/gate.ts";
import { judgementOf, rulingsFor } from "../../src/admission/judgement.ts";
import { type AdmissionRequest, readReview } from "../../src/admission/review.ts";
import { requesterOf } from "../../src/admission/writer.ts";
import { audit } from "../../src/engine/audit.ts";
import { judge } from "../../src/engine/evaluate.ts";
import type { Finding } from "../../src/engine/finding.ts";
import { rulingsOf } from "../../src/engine/ruling.ts";
import { selectionOf } from "../../src/engine/setting.ts";
import { withoutPauses } from "../../src/engine/steps.ts";
import { identityOf } from "../../src/kube/identity.ts";
import { allKinds, type Kind } from "../../src/kube/kinds.ts";
import { readAny } from "../../src/kube/object.ts";
import { defaultMeshSettings, meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import type { Knowledge, Mesh } from "../../src/view/view.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import type { Policies } from "../../src/policy/policies.ts";
import { findProfile } from "../../src/policy/profiles.ts";
import { rules as everyRule } from "../../src/rules/index.ts";
import type {
  Audit,
  RecordedAudit,
  RecordedChange,
  RecordedMesh,
  RecordedPolicies,
  RecordedRequest,
  Verdict,
} from "./corpus.ts";

// The only file of the corpus that knows Meshward's code: when that changes its shape, this is what has to follow.

/** A rule on trial only warns: what it would add is recorded when it is promoted. */
const rules = everyRule.filter(({ stage }) => stage !== "trial");

/** Exceptions of the corpus expire before it, or after. */
const now = new Date("2026-06-01T00:00:00Z");

/** What the gate decides. */
export function judged({ mesh, policies, request }: RecordedChange): Verdict {
  const view = viewOf(mesh);
  const inForce = inForceOf(policies);
  const asked = readRequest(request);
  const gate = createGate({ mesh: () => view, rules, policies: () => inForce, now: () => now });
  const decision = gate.validate(asked);
  return {
    allowed: decision.allowed,
    outcome: decision.outcome,
    rules: sorted(decision.rules),
    denied: sorted([...(decision.message ?? "").matchAll(/^- \[([^\]]+)\]/gm)].map(([, id = ""]) => id)),
    warned: warnedBy(asked, view, inForce),
  };
}

/** The rules behind the warnings, which a decision holds as texts alone. */
function warnedBy(request: AdmissionRequest, view: Mesh, policies: Policies): readonly string[] {
  const reading = readChange(request, view);
  if (!("change" in reading)) return [];
  const { change } = reading;
  const selection = selectionOf(policies, requesterOf(request), now);
  const evaluation = judge(rules, view, [change], { selection });
  const rulings = withoutPauses(rulingsFor(judgementOf({ request, change, evaluation, selection, policies })));
  return sorted(rulings.filter(({ mode }) => mode === "warn").map(({ finding }) => finding.rule.id));
}

/** What an audit of the mesh as it is reports. */
export function audited({ mesh, policies }: RecordedAudit): Audit {
  const view = viewOf(mesh);
  const selection = selectionOf(inForceOf(policies), undefined, now);
  const found: Finding[] = [];
  for (const result of audit(rules, view, selection)) {
    if ("error" in result) throw result.error;
    if ("message" in result) found.push({ ...result, introduced: true });
  }
  const rulings = rulingsOf(found, { after: view, exceptionFor: selection.exceptionFor });
  const counted = rulings.filter(({ mode }) => mode !== "off");
  const lines = counted.map(({ finding: { rule, subject }, mode }) => [rule.id, identityOf(subject), mode] as const);
  return { findings: lines.sort((a, b) => (a.join(" ") < b.join(" ") ? -1 : 1)) };
}

/** Many changes are of the same mesh, and judging writes into none. */
const views = new WeakMap<RecordedMesh, MeshStore>();
function viewOf(mesh: RecordedMesh): MeshStore {
  const known = views.get(mesh);
  if (known !== undefined) return known;
  const objects = mesh.objects.flatMap((raw) => readAny(raw, "default") ?? []);
  const settings = meshSettingsOf(objects, { ...defaultMeshSettings, ...mesh.settings });
  const view = new MeshStore(settings, knowledgeOf(mesh));
  for (const object of objects) view.set(object);
  views.set(mesh, view);
  return view;
}

const knowledgeOf = ({ knowledge }: RecordedMesh): ReadonlyMap<Kind, Knowledge> =>
  new Map(allKinds.map((kind) => [kind, (knowledge[kind] ?? knowledge["*"] ?? "complete") as Knowledge]));

const loaded = new WeakMap<RecordedPolicies, Policies>();
function inForceOf(recorded: RecordedPolicies): Policies {
  const known = loaded.get(recorded);
  if (known !== undefined) return known;
  const { name, documents } = recorded;
  const found = findProfile(recorded.profile);
  assert.ok("profile" in found, `${name}: there is no profile ${recorded.profile}`);
  const sources = documents.map((raw) => ({ raw, file: name, locate: () => ({ line: 1, column: 1 }) }));
  const { policies, errors } = loadPolicies(sources, rules, found.profile);
  assert.deepEqual(errors, [], name);
  loaded.set(recorded, policies);
  return policies;
}

interface Shown {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name?: string; readonly namespace?: string };
}

/** Through the door that the API server comes in by. */
function readRequest({ object, oldObject, subResource, dryRun, writer }: RecordedRequest): AdmissionRequest {
  const shown = (object ?? oldObject) as unknown as Shown;
  const [version = "", group = ""] = shown.apiVersion.split("/").reverse();
  const { name } = shown.metadata;
  const request = {
    uid: "9c1a",
    kind: { group, version, kind: shown.kind },
    subResource,
    name,
    namespace: shown.kind === "Namespace" ? name : shown.metadata.namespace,
    operation: oldObject === undefined ? "CREATE" : object === undefined ? "DELETE" : "UPDATE",
    userInfo: { username: writer.user, groups: writer.groups },
    object,
    oldObject,
    dryRun,
    options: { fieldManager: writer.fieldManager },
  };
  const reading = readReview(JSON.stringify({ apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request }));
  assert.ok("request" in reading, JSON.stringify(reading));
  return reading.request;
}

const sorted = (ids: readonly string[]): readonly string[] => [...new Set(ids)].sort();
