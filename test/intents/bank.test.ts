import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { audit } from "../../src/engine/audit.ts";
import { judge } from "../../src/engine/evaluate.ts";
import { everyRule } from "../../src/engine/setting.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { type AnyObject, readAny } from "../../src/kube/object.ts";
import { isMet } from "../../src/mesh/authorization/requests/difference.ts";
import { judgementsOf } from "../../src/mesh/intents/judged.ts";
import type { Outcome } from "../../src/mesh/requests/outcome.ts";
import { rules } from "../../src/rules/index.ts";
import { meshSettingsOf } from "../../src/view/settings.ts";
import { sideOf } from "../../src/view/side.ts";
import { MeshStore } from "../../src/view/store.ts";
import { plainOf } from "../mesh/authorization/requests/arbitrary.ts";
import { isAllowed, type PlainRequest } from "../mesh/authorization/requests/interpreter.ts";
import { intents, world } from "./bank.ts";
import { changes } from "./bank-changes.ts";
import type { Raw } from "./story.ts";

const read = (raw: Raw): AnyObject => {
  const object = readAny(raw);
  assert.ok(object !== undefined, JSON.stringify(raw));
  return object;
};
function storeOf(objects: readonly AnyObject[]): MeshStore {
  const store = new MeshStore(meshSettingsOf(objects));
  for (const object of objects) store.set(object);
  return store;
}
const objects = [...world, ...intents].map(read);
const bank = storeOf(objects);
const ofIntents = rules.filter(({ id }) => id.includes("intent"));

function said(raw: Raw, isDeletion = false): readonly string[] {
  const object = read(raw);
  const old = bank.find(object.kind, keyOf(object));
  const { findings, errors } = judge(ofIntents, bank, [isDeletion ? { old } : { old, object }]);
  assert.deepEqual(errors, []);
  return findings.flatMap(({ subject, message, onlyWarns }) =>
    onlyWarns === undefined ? [`${subject.metadata.name}: ${message}`] : [],
  );
}

test("all intents of the bank hold", () => {
  const found = [...audit(ofIntents, bank, everyRule)].map((one) => ("message" in one ? one.message : one));
  assert.deepEqual(found, []);
});

test("at least three kinds of objects end each intent", () => {
  for (const { metadata } of intents) {
    const kinds = changes.filter(({ intent }) => intent === metadata.name).map(({ breaking }) => breaking["kind"]);
    assert.ok(new Set(kinds).size >= 3, `${metadata.name}: ${kinds.join(", ")}`);
  }
});

/** The mesh after a change. */
function after(raw: Raw, isDeletion = false): MeshStore {
  const object = read(raw);
  const others = objects.filter((one) => one.kind !== object.kind || keyOf(one) !== keyOf(object));
  return storeOf(isDeletion ? others : [...others, object]);
}

const usual: PlainRequest = {
  identity: undefined,
  sourceIp: "10.0.0.1",
  remoteIp: "10.0.0.1",
  destinationIp: "10.0.0.2",
  port: 8080,
  host: "any.example",
  method: "GET",
  path: "/",
  sni: "",
  headers: {},
  token: undefined,
  claims: {},
};

/** The policies of the pods of a workload, those that are enforced. */
function attachedTo({ metadata: { namespace }, pod }: Outcome["workloads"][number], store: MeshStore) {
  return [...store.all("AuthorizationPolicy")].filter(({ metadata, spec }) => {
    const selected = Object.entries(spec.selector?.matchLabels ?? {});
    const isThere = [namespace, "istio-system"].includes(metadata.namespace) && spec.targetRefs.length === 0;
    const isEnforced = metadata.annotations["istio.io/dry-run"] !== "true";
    return isThere && isEnforced && selected.every(([name, value]) => pod.labels[name] === value);
  });
}

/** False: nobody there validates the token, or the proxy refuses it. */
function isTokenRead({ token }: PlainRequest, namespace: string, store: MeshStore): boolean {
  const rules = [...store.all("RequestAuthentication")]
    .filter(({ metadata }) => metadata.namespace === namespace)
    .flatMap(({ spec }) => spec.jwtRules);
  return token === undefined || rules.some(({ issuer }) => issuer === token.issuer);
}

/** What the policies of the pods say of an example, if it goes to them directly; undefined: it does not, or nothing is enforced. */
function plainlyAllowed(store: MeshStore, { example, transport, authorization, workloads }: Outcome) {
  const [decision, more] = authorization;
  const [workload] = workloads;
  const isDirect = transport.length === 1 && more === undefined && decision?.at !== "waypoint";
  if (decision === undefined || workload === undefined || !isDirect) return undefined;
  const sent = plainOf(example, usual);
  if (!isTokenRead(sent, workload.metadata.namespace, store)) return false;
  const identity = transport[0]?.result === "mtls" ? sent.identity : undefined;
  return isAllowed({ ...sent, identity }, attachedTo(workload, store), decision.place, store.settings);
}

/** What shows that an intent is not held. */
function brokenIn(store: MeshStore): readonly Outcome[] {
  const side = sideOf(store);
  const subjects = [...store.all("MeshwardIntent"), ...store.all("Namespace")];
  const verdicts = subjects
    .flatMap((object) => [...judgementsOf(object, side)])
    .flatMap((judgement) => [...judgement.verdicts()]);
  return verdicts.flatMap((verdict) =>
    verdict?.state === "broken" && verdict.outcome !== undefined ? [verdict.outcome] : [],
  );
}

let compared = 0;
for (const name of new Set(changes.map(({ intent }) => intent)))
  describe(name, () => {
    for (const { kind, breaking, isDeletion, harmless, says } of changes.filter(({ intent }) => intent === name))
      test(`${kind}: what ends it is denied with a true example, and its twin is not`, () => {
        const found = said(breaking, isDeletion);
        assert.ok(
          found.some((one) => one.includes(name) && says.test(one)),
          `${says.source}\n${found.join("\n")}`,
        );
        assert.deepEqual(said(harmless), []);
        const store = after(breaking, isDeletion);
        for (const outcome of brokenIn(store)) {
          assert.ok(isMet(outcome.requests.clauses, outcome.example));
          const allowed = plainlyAllowed(store, outcome);
          if (allowed === undefined || outcome.result === "undecided") continue;
          compared++;
          assert.equal(allowed, outcome.result === "accepted", JSON.stringify([...outcome.example]));
        }
      });
  });

test("examples were compared with the policies", () => {
  assert.ok(compared >= 20, String(compared));
});
