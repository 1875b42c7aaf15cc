import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { meshFunctions } from "../../src/custom-rules/mesh-functions.ts";
import { judge } from "../../src/engine/evaluate.ts";
import type { Finding } from "../../src/engine/finding.ts";
import type { Rule } from "../../src/engine/rule.ts";
import { selectionOf } from "../../src/engine/setting.ts";
import { unreachable } from "../../src/engine/declared-reads.ts";
import { identityOf, keyOf } from "../../src/kube/identity.ts";
import { FieldUse } from "../../src/kube/kept-fields.ts";
import type { AnyObject } from "../../src/kube/object.ts";
import { defaultMeshSettings, meshSettingsOf } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { anObject, someObjects } from "../meshes/arbitrary.ts";
import { policiesIn, policyWith, ruleWith } from "./custom.ts";

const everything = new FieldUse();
everything.isWhole = true;
/** The fields of a reader have the names of the raw ones. */
const written = (object: AnyObject): AnyObject => ({
  ...object,
  kept: { fields: everything, value: JSON.parse(JSON.stringify(object)) as unknown },
});

const kindNames = { Workload: "Deployment, StatefulSet, Pod", Gateway: "Gateway.networking.istio.io" } as const;
const quoted = (text: string): string => JSON.stringify(text);

/** A rule for each function and kind, whose message is the answer, so that another answer is another finding. */
const rules: readonly Rule[] = meshFunctions.flatMap(({ name, takes, kinds }) => {
  const first = takes[0];
  const of =
    kinds ?? (["VirtualService", "DestinationRule", "ServiceEntry", "Service", "Workload", "Namespace"] as const);
  return of.flatMap((kind) => {
    const shown = Reflect.get(kindNames, kind) as string | undefined;
    const args =
      first === "object"
        ? [takes.length > 1 ? "object, 80" : "object"]
        : first === "namespace"
          ? [kind === "Namespace" ? "object.metadata.name" : "object.metadata.namespace", "'b'"]
          : ["'x.a.svc.cluster.local'", "'ext.example.com'"];
    return args.map((arg, i) => ({
      ...ruleWith(
        `kinds: [${shown ?? kind}], expression: 'false', messageExpression: ${quoted(`'is %s'.format([mesh.${name}(${arg})])`)}`,
      ),
      id: `own/${name}-${kind}-${takes.length}-${i}`,
    }));
  });
});
const ofRoutes = ruleWith(
  `kinds: [VirtualService], expression: 'false', messageExpression: "object.spec.http.map(r, r.route.map(d, d.destination.host + mesh.owner(d.destination.host) + string(mesh.deniesByDefault(object.metadata.namespace)))).size() > 0 ? string(object.spec.http.all(r, r.route.all(d, mesh.owner(d.destination.host) == '' || mesh.deniesByDefault(mesh.owner(d.destination.host))))) : ''"`,
);
const all = [...rules, ofRoutes];

test("every relation can be reached from the objects of its rule", () => {
  for (const rule of all) assert.deepEqual(unreachable(rule), [], rule.id);
});

const textOf = ({ rule, subject, message }: Finding) => `${rule.id} | ${identityOf(subject)} | ${message}`;

/** Namespaces with a label are protected, as the profile says. */
const policies = policiesIn(policyWith("kinds: [Service], expression: 'true'"));

test("narrowing finds every answer that a change changes, as a scan of everything does", () => {
  let elsewhere = 0;
  const answers = new Set<string>();
  const numRuns = Number(process.env["MESHWARD_LAW_RUNS"] ?? 1500);
  fc.assert(
    fc.property(someObjects(), anObject, fc.boolean(), (given, next, isDeletion) => {
      const objects = given.map(written);
      const mesh = new MeshStore(meshSettingsOf(objects, defaultMeshSettings));
      for (const object of objects) mesh.set(object);
      const there = mesh.find(next.kind, keyOf(next));
      const old = there?.implied ? undefined : there;
      const change = isDeletion ? { old } : { old, object: written(next) };
      if (change.old === undefined && change.object === undefined) return;
      const introducedBy = (isScan: boolean) => {
        const { findings, errors } = judge(all, mesh, [change], { isScan, selection: selectionOf(policies) });
        for (const { error } of errors) throw error;
        return findings.filter(({ introduced }) => introduced);
      };
      const found = introducedBy(false);
      elsewhere += found.filter(({ subject }) => identityOf(subject) !== identityOf(next)).length;
      for (const { rule, message } of found) answers.add(`${rule.id} ${message}`);
      assert.deepEqual(found.map(textOf).sort(), introducedBy(true).map(textOf).sort());
    }),
    { numRuns },
  );
  assert.ok(elsewhere > 20, `${elsewhere} findings elsewhere`);
  for (const { name } of meshFunctions) {
    const some = [...answers]
      .filter((answer) => answer.startsWith(`own/${name}-`))
      .map((answer) => answer.split(" ").slice(1).join(" "));
    assert.ok(new Set(some).size > 1, `${name} always has the same answer: ${some[0]}`);
  }
});
