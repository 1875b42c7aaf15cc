import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { judge } from "../../src/engine/evaluate.ts";
import { identityOf, keyOf } from "../../src/kube/identity.ts";
import type { AnyObject } from "../../src/kube/object.ts";
import type { AuthorizationPolicy } from "../../src/mesh/authorization/policies.ts";
import { captureOf, staysOut } from "../../src/mesh/membership/capture.ts";
import type { Workload } from "../../src/mesh/membership/workloads.ts";
import { isServed } from "../../src/mesh/objects/revision.ts";
import { authorizationPolicyAllowsEveryone } from "../../src/rules/authorization-policy/allows-everyone.ts";
import { namespaceDefaultDenyRemoved } from "../../src/rules/namespace/default-deny-removed.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import type { Mesh } from "../../src/view/view.ts";
import { anObject } from "../meshes/arbitrary.ts";

// Nothing that was denied by default opens unseen, and nobody is told so of what stays closed. Worked out from all
// policies of the mesh, for the rules that these meshes have: without relations, and workload by workload.

const numRuns = Number(process.env.MESHWARD_LAW_RUNS ?? 1500);

const captureIn = (workload: Workload, mesh: Mesh) =>
  captureOf(
    workload,
    [...mesh.all("Namespace")].find(({ metadata }) => metadata.name === workload.metadata.namespace),
    mesh.settings,
  );

function isDenied(workload: Workload, mesh: Mesh): boolean {
  const isAmbient = captureIn(workload, mesh) === "ambient";
  const policies = [...mesh.all("AuthorizationPolicy")].filter(
    (policy) => isServed(policy, mesh.settings) && isFor(policy, workload, isAmbient),
  );
  const ofAction = (action: string) => policies.filter(({ spec }) => (spec.action ?? "ALLOW") === action);
  const allowing = ofAction("ALLOW");
  return ofAction("DENY").some(isForEveryone) || (allowing.length > 0 && !allowing.some(isForEveryone));
}

function isFor(
  { metadata, spec }: AuthorizationPolicy,
  { metadata: { namespace }, pod }: Workload,
  isAmbient: boolean,
) {
  if (metadata.namespace !== namespace && metadata.namespace !== "istio-system") return false;
  if (metadata.annotations["istio.io/dry-run"] === "true" || spec.targetRefs.length > 0) return false;
  const { matchLabels = isAmbient ? { never: "there" } : {} } = spec.selector ?? { matchLabels: {} };
  return Object.entries(matchLabels).every(([key, value]) => pod.labels[key] === value);
}

const isForEveryone = ({ spec }: AuthorizationPolicy): boolean =>
  spec.rules.some(({ from, to }) => from.length === 0 && to.length === 0);

interface World {
  readonly before: Mesh;
  readonly after: Mesh;
}
/** No policy is enforced for what is outside the mesh by its own wish. */
const isOut = (workload: Workload, mesh: Mesh) => staysOut(workload) && captureIn(workload, mesh) === "none";
const workloadsOf = (mesh: Mesh, namespace: string) =>
  [...mesh.all("Workload")].filter((workload) => workload.metadata.namespace === namespace && !isOut(workload, mesh));
const openedIn = ({ before, after }: World, namespace: string): boolean =>
  workloadsOf(after, namespace).some((workload) => {
    const old = before.find("Workload", keyOf(workload)) as Workload | undefined;
    return old !== undefined && !isOut(old, before) && isDenied(old, before) && !isDenied(workload, after);
  });

function judged(objects: readonly AnyObject[], next: AnyObject, isDeletion: boolean) {
  const mesh = new MeshStore(defaultMeshSettings);
  for (const object of objects) mesh.set(object);
  const there = mesh.find(next.kind, keyOf(next));
  const old = there?.implied ? undefined : there;
  const change = isDeletion ? { old } : { old, object: next };
  if (change.old === undefined && change.object === undefined) return undefined;
  return judge([authorizationPolicyAllowsEveryone, namespaceDefaultDenyRemoved], mesh, [change]);
}

const concerned: ReadonlySet<string> = new Set(["Namespace", "Workload", "AuthorizationPolicy", "KubernetesGateway"]);
const worlds = fc.uniqueArray(
  anObject.filter(({ kind }) => concerned.has(kind)),
  { selector: identityOf, minLength: 4, maxLength: 14 },
);
const anyConcerned = anObject.filter(({ kind }) => concerned.has(kind));

test("what was denied by default and is not any more is denied", () => {
  let opened = 0;
  fc.assert(
    fc.property(worlds, fc.nat(), anyConcerned, fc.boolean(), (objects, at, other, isDeletion) => {
      const there = objects[at % objects.length] as AnyObject;
      // Half of the changes are of something that is there.
      const isSame = at % 2 === 0 && there.kind === other.kind;
      const { name, namespace } = there.metadata;
      const next = isDeletion
        ? there
        : isSame
          ? ({ ...other, metadata: { ...other.metadata, name, namespace } } as AnyObject)
          : other;
      const result = judged(objects, next, isDeletion);
      if (result === undefined) return;
      const { findings, before, after } = result;
      assert.deepEqual(result.errors, []);
      const denied = findings.filter(({ introduced, onlyWarns }) => introduced && onlyWarns === undefined);
      for (const where of ["a", "b", "istio-system"]) {
        const isSaid = denied.some(({ subject: { metadata } }) => (metadata.namespace || metadata.name) === where);
        const isOpened = openedIn({ before, after }, where);
        if (isOpened) opened++;
        if (isOpened) assert.ok(isSaid, `nothing said of ${where}`);
        const hasMany = workloadsOf(after, where).length > 1;
        const ofWorkloads = denied.filter(
          ({ rule, subject, message }) =>
            rule === namespaceDefaultDenyRemoved &&
            subject.metadata.name === where &&
            !/^(Gateway|Service) /.test(message),
        );
        if (hasMany && !isOpened) assert.deepEqual(ofWorkloads, []);
      }
    }),
    { numRuns },
  );
  assert.ok(opened > numRuns / 300, `only ${opened} of ${numRuns} changes opened anything`);
});
