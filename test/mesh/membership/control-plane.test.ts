import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type AnyObject, impliedNamespace, readObject } from "../../../src/kube/object.ts";
import { captureOf, servedCaptureOf } from "../../../src/mesh/membership/capture.ts";
import { Readers } from "../../../src/mesh/membership/control-plane.ts";
import { mtlsOf } from "../../../src/mesh/mtls/effective-mtls.ts";
import { isReadBy } from "../../../src/mesh/objects/revision.ts";
import { defaultMeshSettings, type AllMeshSettings } from "../../../src/view/settings.ts";
import { MeshStore } from "../../../src/view/store.ts";

type Labels = Record<string, string>;
const rev = (revision: string): Labels => ({ "istio.io/rev": revision });
const injection: Labels = { "istio-injection": "enabled" };
const namespace = (labels: Labels, name = "a") =>
  readObject("Namespace", { kind: "Namespace", metadata: { name, labels } });
const policy = (labels: Labels = {}, where = "a", mode = "STRICT") =>
  readObject("PeerAuthentication", {
    metadata: { name: Object.values(labels).join() || "unlabelled", namespace: where, labels },
    spec: { mtls: { mode } },
  });

const one: AllMeshSettings = { ...defaultMeshSettings, seen: true };
const two: AllMeshSettings = { ...one, revisions: ["canary", "default"], tags: { prod: "canary" } };
const noDefault: AllMeshSettings = { ...one, revisions: ["1-30", "1-31"], tags: { prod: "1-30" } };
const byTag: AllMeshSettings = { ...noDefault, tags: { default: "1-31" } };

describe("the control plane of a sidecar", () => {
  const cases: [string, AllMeshSettings, Labels, Labels, string | undefined][] = [
    ["injection: the default one", two, injection, {}, "default"],
    ["injection: what the default tag stands for", byTag, injection, {}, "1-31"],
    ["injection, and neither a default revision nor a default tag", noDefault, injection, {}, undefined],
    ["a revision", two, rev("canary"), {}, "canary"],
    ["a tag", two, rev("prod"), {}, "canary"],
    ["a revision of nobody", two, rev("nobody"), {}, undefined],
    ["a name that every object has", two, rev("constructor"), {}, undefined],
    ["injection takes precedence over the revision", two, { ...injection, ...rev("canary") }, {}, "default"],
    ["the namespace takes precedence over the pod", two, rev("canary"), rev("default"), "canary"],
    ["a pod in a namespace without labels", two, {}, rev("prod"), "canary"],
    ["a pod without labels", two, {}, {}, "default"],
    ["a tag named like a revision takes precedence", { ...two, tags: { default: "canary" } }, injection, {}, "canary"],
    ["a tag of a revision that is gone", { ...two, tags: { old: "1-28" } }, rev("old"), {}, undefined],
  ];
  for (const [what, settings, labels, pod, expected] of cases)
    test(what, () => assert.equal(new Readers(namespace(labels), undefined, settings).ofSidecar(pod), expected));

  test("is not known without the labels of the namespace", () => {
    assert.equal(new Readers(impliedNamespace("a"), undefined, two).ofSidecar({}), undefined);
  });
});

describe("the control plane of ztunnel and of gateways", () => {
  const ztunnel = (settings: AllMeshSettings) => new Readers(namespace({}), undefined, settings).ofZtunnel;
  test("ztunnel has the one that it names, else the default, else the only one", () => {
    assert.equal(ztunnel(two), "default");
    assert.equal(ztunnel({ ...two, ztunnelRevision: "canary" }), "canary");
    assert.equal(ztunnel(byTag), "1-31");
    assert.equal(ztunnel({ ...one, revisions: ["1-30"] }), "1-30");
    assert.equal(ztunnel(noDefault), undefined);
  });
  test("a Gateway has that of its own label, else of its namespace; injection has no effect", () => {
    const gateway = (labels: Labels) =>
      readObject("KubernetesGateway", { metadata: { name: "w", namespace: "a", labels } });
    const of = (labels: Labels, own: Labels) => new Readers(namespace(labels), undefined, two).ofGateway(gateway(own));
    assert.equal(of({}, {}), "default");
    assert.equal(of(rev("canary"), {}), "canary");
    assert.equal(of(rev("canary"), rev("default")), "default");
    assert.equal(of({ ...injection, ...rev("prod") }, {}), "canary");
  });
});

describe("whether a control plane reads an object", () => {
  const cases: [string, Labels, string | undefined, boolean][] = [
    ["no label", {}, "default", true],
    ["its revision", rev("canary"), "canary", true],
    ["another one", rev("canary"), "default", false],
    ["a tag is not resolved", rev("prod"), "canary", false],
    ["which one is not known: any", rev("canary"), undefined, true],
    ["nobody's", rev("nobody"), undefined, false],
    ["an empty label is one", rev(""), "default", false],
  ];
  for (const [what, labels, controlPlane, expected] of cases)
    test(what, () => assert.equal(isReadBy(policy(labels), controlPlane, two), expected));
});

describe("discoverySelectors", () => {
  const on = { matchLabels: { mesh: "on" }, matchExpressions: [] };
  const inTeams = (operator: string, values: string[]) => ({
    matchLabels: {},
    matchExpressions: [{ key: "team", operator, values }],
  });
  const discovers = (labels: Labels, ...selectors: (typeof on | ReturnType<typeof inTeams>)[]) =>
    new Readers(namespace(labels), undefined, { ...one, discovery: { default: selectors } }).discovers("default");

  test("one of them has to match", () => {
    assert.equal(discovers({ mesh: "on" }, on), true);
    assert.equal(discovers({ mesh: "off" }, on), false);
    assert.equal(discovers({ team: "a" }, on, inTeams("In", ["a"])), true);
    assert.equal(discovers({}, inTeams("NotIn", ["a"])), true);
    assert.equal(discovers({}, { matchLabels: {} as typeof on.matchLabels, matchExpressions: [] }), true);
  });
  test("one that is invalid disables all", () => {
    assert.equal(discovers({}, on, inTeams("Is", ["a"])), true);
    assert.equal(discovers({}, on, inTeams("In", [])), true);
    assert.equal(discovers({}, on, inTeams("Exists", ["a"])), true);
  });
  test("those of another control plane have no effect", () => {
    const readers = new Readers(namespace({}), undefined, { ...two, discovery: { canary: [on] } });
    assert.deepEqual([readers.discovers("canary"), readers.discovers("default")], [false, true]);
  });
  test("a namespace whose labels are not known is assumed to match", () => {
    const readers = new Readers(impliedNamespace("a"), undefined, { ...one, discovery: { default: [on] } });
    assert.equal(readers.discovers("default"), true);
  });
});

describe("mTLS by control plane", () => {
  const modeOf = (settings: AllMeshSettings, labels: Labels, objects: readonly AnyObject[], pod: Labels = {}) => {
    const mesh = new MeshStore(settings);
    const own = namespace(labels);
    for (const object of [own, ...objects]) mesh.set(object);
    return mtlsOf(own, mesh).of(pod, "sidecar").mode.mode;
  };
  const root = namespace({}, "istio-system");
  const cases: [string, AllMeshSettings, Labels, AnyObject[], Labels, string][] = [
    ["its own control plane", two, injection, [policy(rev("default"))], {}, "STRICT"],
    ["another one", two, injection, [policy(rev("canary"))], {}, "PERMISSIVE"],
    ["through a tag", two, rev("prod"), [policy(rev("canary"))], {}, "STRICT"],
    ["chosen by the pod", two, {}, [policy(rev("canary"))], rev("canary"), "STRICT"],
    ["not chosen by the pod", two, {}, [policy(rev("canary"))], {}, "PERMISSIVE"],
    ["mesh-wide, of another one", two, injection, [root, policy(rev("canary"), "istio-system")], {}, "PERMISSIVE"],
    ["mesh-wide, of its own", two, rev("canary"), [root, policy(rev("canary"), "istio-system")], {}, "STRICT"],
    ["each its own", two, injection, [policy(rev("canary")), policy(rev("default"), "a", "DISABLE")], {}, "DISABLE"],
    ["a revision of nobody: those that anyone reads", two, rev("nobody"), [policy(rev("canary"))], {}, "STRICT"],
  ];
  for (const [what, settings, labels, objects, pod, expected] of cases)
    test(what, () => assert.equal(modeOf(settings, labels, objects, pod), expected));

  test("in a namespace that is not discovered, mesh-wide policies still count", () => {
    const settings = { ...one, discovery: { default: [{ matchLabels: { mesh: "on" }, matchExpressions: [] }] } };
    const shown = namespace({ mesh: "on" }, "istio-system");
    assert.equal(modeOf(settings, injection, [policy()]), "PERMISSIVE");
    assert.equal(modeOf(settings, { ...injection, mesh: "on" }, [policy()]), "STRICT");
    assert.equal(modeOf(settings, injection, [shown, policy({}, "istio-system")]), "STRICT");
    assert.equal(modeOf(settings, injection, [root, policy({}, "istio-system")]), "PERMISSIVE");
  });
});

describe("captureOf with settings", () => {
  const pod = (labels: Labels) =>
    readObject("Workload", {
      kind: "Deployment",
      metadata: { name: "x", namespace: "a" },
      spec: { template: { metadata: { labels } } },
    });
  const cases: [string, AllMeshSettings, Labels, Labels, string][] = [
    ["a revision", two, rev("canary"), {}, "sidecar"],
    ["a tag", two, rev("prod"), {}, "sidecar"],
    ["a revision of nobody", two, rev("nobody"), {}, "none"],
    ["injection without a default revision", noDefault, injection, {}, "none"],
    ["injection with a default tag", byTag, injection, {}, "sidecar"],
    [
      "ztunnel takes what no injector does",
      two,
      { ...rev("nobody"), "istio.io/dataplane-mode": "ambient" },
      {},
      "ambient",
    ],
    ["a pod of nobody's revision", two, {}, rev("nobody"), "none"],
    ["the control planes are not known", defaultMeshSettings, rev("nobody"), {}, "sidecar"],
  ];
  for (const [what, settings, labels, own, expected] of cases)
    test(what, () => assert.equal(servedCaptureOf(pod(own), namespace(labels), settings), expected));
  test("captureOf: every revision is assumed to have an injector", () => {
    assert.equal(captureOf(pod({}), namespace(rev("nobody")), defaultMeshSettings), "sidecar");
  });
});
