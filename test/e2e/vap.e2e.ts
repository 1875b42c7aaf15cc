import assert from "node:assert/strict";
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";
import { createGate } from "../../src/admission/gate.ts";
import type { Decision } from "../../src/admission/review.ts";
import { defineCustomRules } from "../../src/custom-rules/compile.ts";
import { keptFieldsOf, rulesInForce } from "../../src/custom-rules/in-force.ts";
import { readAny } from "../../src/kube/object.ts";
import type { Rule } from "../../src/engine/rule.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { MeshStore } from "../../src/view/store.ts";
import { reviewed } from "../admission/requests.ts";
import { meshward } from "../cli/terminal.ts";
import { type ControlPlane, startControlPlane } from "./control-plane.ts";
import { binaries, namespace, type Raw, skip, succeeds } from "./environment.ts";
import { until } from "./program.ts";

// Without any Meshward, the exported rules decide what Meshward decides, about the fixtures of the rules and about changes.

const folder = fileURLToPath(new URL("../rules/", import.meta.url));
const withForm = rules.filter(({ cel }) => cel !== undefined);

const objectsIn = (text: string): readonly (Raw | null)[] =>
  parseAllDocuments(text)
    .map((document) => document.toJS() as Raw | null)
    .flatMap((one) => (one?.kind === "List" ? (one["items"] as Raw[]) : [one]));

/** The objects in the fixtures of a rule, in a protected namespace. */
function* fixturesOf({ id, subject }: Rule): Iterable<{ readonly file: string; readonly object: Raw }> {
  for (const file of globSync(`${id}/*.yaml`, { cwd: folder })) {
    const text = readFileSync(join(folder, file), "utf8");
    if (text.includes("# settings:") || text.includes("# before:")) continue;
    for (const raw of objectsIn(text)) {
      // Only the API server sets the time of a deletion.
      if (raw === null || readAny(raw)?.kind !== subject[0] || raw.metadata["deletionTimestamp"] !== undefined)
        continue;
      const namespace = raw.kind === "Namespace" ? {} : { namespace: "shop" };
      const name = `f-${raw.metadata.name}`.slice(0, 50);
      yield { file, object: { ...raw, metadata: { ...raw.metadata, name, ...namespace } } };
    }
  }
}

const own = {
  apiVersion: "meshward.io/v1alpha1",
  kind: "MeshwardPolicy",
  metadata: { name: "shop" },
  spec: {
    match: { namespaces: { names: ["shop", "team-*"], labels: { tier: "gold" } } },
    rules: [
      { id: "namespace-dataplane-conflict", mode: "deny" },
      { id: "http-route-weights-not-100", mode: "deny" },
      { id: "virtual-service-mirror-to-production", mode: "deny" },
    ],
    customRules: [
      {
        id: "timeout",
        kinds: ["VirtualService"],
        mode: "deny",
        expression:
          // The API server tells one denial of several: this rule leaves the fixtures of others alone.
          "object.metadata.name.startsWith('f-') || !has(object.spec.http) || object.spec.http.all(r, has(r.timeout) && duration(r.timeout) <= duration(params.longest))",
        messageExpression: "'no timeout of at most ' + params.longest",
        message: "Every route needs a timeout",
        parameters: { longest: "30s" },
      },
      {
        id: "image",
        kinds: ["Deployment"],
        mode: "warn",
        expression: "object.spec.template.spec.containers.all(c, !c.image.endsWith(':latest'))",
        message: "Images need a version",
      },
      {
        id: "mesh",
        kinds: ["Deployment"],
        expression: "mesh.mtlsMode(object) == 'STRICT'",
        message: "It needs the mesh",
      },
    ],
  },
};

describe("ValidatingAdmissionPolicies without Meshward", { skip }, () => {
  let plane: ControlPlane;
  const { policies, errors } = loadPolicies(
    [{ raw: own, file: "own.yaml", locate: () => ({ line: 1, column: 1 }) }],
    rules,
    "baseline",
    { define: defineCustomRules },
  );
  const all = rulesInForce(rules, policies);
  const exported = all.filter((rule) => rule.cel !== undefined || ["shop/timeout", "shop/image"].includes(rule.id));

  before(async () => {
    assert.deepEqual(errors, []);
    plane = await startControlPlane({ binaries: binaries(), controllers: true, definitions: true });
    const file = join(plane.folder, "own.json");
    writeFileSync(file, JSON.stringify(own));
    const { code, out, error } = await meshward(["export", "vap", "--policies", file]);
    assert.equal(code, 0, error);
    assert.match(out, /# {3}shop\/mesh: it calls functions of the mesh/);
    const { code: applied, stderr } = await plane.kubectl(["apply", "-f", "-"], { input: out });
    assert.equal(applied, 0, stderr);
    await succeeds(
      plane,
      ["apply", "-f", "-"],
      [
        ...["shop", "team-a"].map((name) => ({
          ...namespace(name),
          metadata: { name, labels: { "meshward.io/protected": "true", tier: "gold" } },
        })),
        { ...namespace("plain"), metadata: { name: "plain" } },
      ],
    );
    await until("the policies of the API server", isInForce, { timeoutMs: 60_000, programs: [] });
  });
  after(async () => plane?.close());

  const isInForce = async () => {
    const wrong = [weights(90, 20), permissive(), { ...deployment("web:latest") }, weights(90, 10, "1h")];
    const said = await Promise.all(wrong.map((object) => sent(object)));
    return said.every(({ stderr }) => stderr.includes("meshward.")) ? true : undefined;
  };

  const sent = (object: object, verb = "create") =>
    plane.kubectl([verb, "--dry-run=server", "-f", "-"], { input: JSON.stringify(object) });

  /** What the API server does by the exported policies of some rules; undefined: it refuses the object for another reason. */
  function outcomeOf({ code, stderr }: { readonly code: number; readonly stderr: string }, ids: readonly string[]) {
    const names = ids.map((id) => `meshward.${id.replace("/", ".")}`);
    if (code !== 0 && !stderr.includes("ValidatingAdmissionPolicy 'meshward.")) return undefined;
    const by = (mode: string) => names.some((name) => stderr.includes(`'${name}.${mode}'`));
    if (by("deny")) return "deny";
    return by("warn") ? "warn" : "allow";
  }

  /** What Meshward does by the same rules in the same mesh. */
  function decisionOf(ids: readonly string[], object: Raw, oldObject?: Raw): Decision {
    const some = all.filter(({ id }) => ids.includes(id));
    const mesh = new MeshStore(defaultMeshSettings);
    const keep = keptFieldsOf(all);
    for (const name of ["shop", "team-a"]) {
      const labels = { "meshward.io/protected": "true", tier: "gold" };
      const there = readAny({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels } }, "", keep);
      if (there !== undefined && object.metadata.name !== name) mesh.set(there);
    }
    const gate = createGate({ mesh: () => mesh, rules: some, policies: () => onlyOf(some) });
    return gate.validate(reviewed({ object, oldObject, groups: ["system:masters"] }));
  }
  const onlyOf = (some: readonly { readonly id: string; readonly definedBy?: string }[]) =>
    some.some(({ definedBy }) => definedBy !== undefined) ? policies : withoutCustomRules;
  const withoutCustomRules = loadPolicies(
    [
      {
        raw: { ...own, spec: { match: own.spec.match, rules: own.spec.rules } },
        file: "own.yaml",
        locate: () => ({ line: 1, column: 1 }),
      },
    ],
    rules,
  ).policies;

  const metadata = { name: "a", namespace: "shop" };
  const weights = (a: number, b: number, timeout = "1s"): Raw => ({
    apiVersion: "networking.istio.io/v1",
    kind: "VirtualService",
    metadata,
    spec: {
      hosts: ["a"],
      http: [
        {
          timeout,
          route: [
            { destination: { host: "a", subset: "v1" }, weight: a },
            { destination: { host: "a", subset: "v2" }, weight: b },
          ],
        },
      ],
    },
  });
  /** To the service `copies` of namespaces. */
  const mirroring = (...namespaces: readonly string[]): Raw => {
    const object = weights(90, 10);
    object["spec"].http[0].mirrors = namespaces.map((name) => ({
      destination: { host: `copies.${name}.svc.cluster.local` },
    }));
    return object;
  };
  const permissive = (mode = "PERMISSIVE"): Raw => ({
    apiVersion: "security.istio.io/v1",
    kind: "PeerAuthentication",
    metadata,
    spec: { mtls: { mode } },
  });
  const deployment = (image: string): Raw => ({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata,
    spec: {
      selector: { matchLabels: { app: "a" } },
      template: { metadata: { labels: { app: "a" } }, spec: { containers: [{ name: "a", image }] } },
    },
  });

  test("the API server finds no wrong type in any of them, and none costs too much", async () => {
    const items = await until("a controller to check the types", async () => {
      const { stdout } = await plane.kubectl(["get", "validatingadmissionpolicies", "-o", "json"]);
      const { items: found } = JSON.parse(stdout) as { items: Raw[] };
      const unchecked = found.filter(({ metadata: own, status }) => status?.observedGeneration !== own.generation);
      if (unchecked.length > 0) throw new Error(unchecked.map(({ metadata: own }) => own.name).join(", "));
      return found;
    });
    assert.ok(items.length >= withForm.length);
    const warnings = items.flatMap(({ metadata: { name }, status }) =>
      ((status?.typeChecking?.expressionWarnings ?? []) as Raw[]).map(({ warning }) => `${name}: ${warning}`),
    );
    assert.deepEqual(warnings, []);
  });

  for (const rule of withForm)
    test(`the fixtures of ${rule.id}`, async () => {
      const outcomes = { allow: 0, warn: 0, deny: 0 };
      for (const { file, object } of fixturesOf(rule)) {
        const outcome = outcomeOf(await sent(object), [rule.id]);
        if (outcome === undefined) continue;
        outcomes[outcome]++;
        const { allowed, outcome: decided } = decisionOf([rule.id], object);
        assert.equal(outcome, allowed ? decided : "deny", `${file}: ${object.metadata.name}`);
      }
      if (rule.compare === undefined)
        assert.ok(outcomes.allow > 0 && outcomes.warn + outcomes.deny > 0, JSON.stringify(outcomes));
    });

  const ids = exported.map(({ id }) => id);
  for (const [title, old, object] of [
    ["wrong weights", weights(90, 10), weights(90, 20)],
    ["wrong weights to other wrong weights", weights(90, 20), weights(80, 40)],
    ["a rollback with wrong weights", weights(50, 50), weights(80, 30)],
    [
      "a label beside wrong weights",
      weights(90, 20),
      { ...weights(90, 20), metadata: { ...metadata, labels: { a: "b" } } },
    ],
    ["a timeout that is too long", weights(90, 10), weights(90, 10, "1h")],
    ["a timeout that stays too long", weights(90, 10, "1h"), weights(80, 20, "1h")],
    ["from STRICT to PERMISSIVE", permissive("STRICT"), permissive()],
    ["from PERMISSIVE to DISABLE", permissive(), permissive("DISABLE")],
    ["a second mirror", mirroring("bank"), mirroring("bank", "ledger")],
    ["one of two mirrors less", mirroring("bank", "ledger"), mirroring("ledger")],
    ["another mirror instead", mirroring("bank"), mirroring("ledger")],
    ["an image without a version", deployment("a:1"), deployment("a:latest")],
  ] as const)
    test(`a change: ${title}`, async () => {
      const stored = await plane.kubectl(["get", "-f", "-"], { input: JSON.stringify(old) });
      if (stored.code === 0) await plane.kubectl(["delete", "-f", "-"], { input: JSON.stringify(old) });
      await withoutBindings(() => plane.kubectl(["create", "-f", "-"], { input: JSON.stringify(old) }));
      const outcome = outcomeOf(await sent(object, "replace"), ids);
      await plane.kubectl(["delete", "-f", "-"], { input: JSON.stringify(old) });
      const { allowed, outcome: decided } = decisionOf(ids, object, old);
      assert.equal(outcome, allowed ? decided : "deny");
    });

  /** Stores an object that the policies would deny. */
  async function withoutBindings(task: () => Promise<unknown>): Promise<void> {
    const { stdout } = await plane.kubectl(["get", "validatingadmissionpolicybindings", "-o", "json"]);
    await plane.kubectl(["delete", "validatingadmissionpolicybindings", "--all"]);
    const isOff = async () => ((await sent(weights(90, 20))).stderr.includes("meshward.") ? undefined : true);
    await until("no policies", isOff, { timeoutMs: 30_000, programs: [] });
    await task();
    const { items } = JSON.parse(stdout) as { items: Raw[] };
    const plain = items.map(({ apiVersion, kind, metadata: { name }, spec }) => ({
      apiVersion,
      kind,
      metadata: { name },
      spec,
    }));
    await succeeds(plane, ["apply", "-f", "-"], plain);
    await until("the policies again", isInForceAgain, { timeoutMs: 30_000, programs: [] });
  }
  const isInForceAgain = async () => {
    const others = [
      { ...weights(90, 20), metadata: { name: "probe", namespace: "shop" } },
      { ...permissive(), metadata: { name: "probe", namespace: "shop" } },
      { ...deployment("web:latest"), metadata: { name: "probe", namespace: "shop" } },
      { ...weights(90, 10, "1h"), metadata: { name: "probe", namespace: "shop" } },
    ];
    const said = await Promise.all(others.map((object) => sent(object)));
    return said.every(({ stderr }) => stderr.includes("meshward.")) ? true : undefined;
  };

  test("nothing holds elsewhere, and what protects a namespace cannot be taken off", async () => {
    const elsewhere = { ...weights(90, 10, "1h"), metadata: { name: "a", namespace: "plain" } };
    assert.equal(outcomeOf(await sent(elsewhere), ids), "allow");
    assert.equal(outcomeOf(await sent({ ...permissive(), metadata: { name: "a", namespace: "plain" } }), ids), "allow");
    const taken = await plane.kubectl(["label", "namespace", "team-a", "meshward.io/protected-", "--dry-run=server"]);
    assert.equal(outcomeOf(taken, ids), "deny");
    assert.match(
      taken.stderr,
      /\[namespace-protection-removed\] The label by which a policy protects a namespace is removed/,
    );
  });
});
