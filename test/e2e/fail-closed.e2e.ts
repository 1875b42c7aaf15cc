import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type ControlPlane, type Output, startControlPlane } from "./control-plane.ts";
import { binaries, manifest, namespace, policies, type Raw, skip, virtualService } from "./environment.ts";
import { type Meshward, register, startMeshward } from "./meshward.ts";
import type { UserName } from "./users.ts";
import { deployment, service } from "./workloads.ts";

// What the default registration refuses while Meshward is down, and what a cluster can still do.

const [guarded, ended, open] = ["guarded", "guarded-ended", "open"] as const;
const isProtected = { "meshward.io/protected": "true" };
const finalizer = "example.com/cleans-up";

describe("Meshward down, with the default registration", { skip }, () => {
  let plane: ControlPlane;
  let meshward: Meshward;

  const send = (args: readonly string[], as: UserName, ...objects: readonly Raw[]): Promise<Output> =>
    plane.kubectl(args, { as, ...(objects.length > 0 ? { input: manifest(...objects) } : {}) });
  const apply = (...objects: readonly Raw[]) => send(["apply", "-f", "-"], "tenant", ...objects);
  const inGuarded = (...args: readonly string[]) => send(["--namespace", guarded, ...args], "tenant");
  async function passes(doing: Promise<Output>): Promise<void> {
    const { code, stderr } = await doing;
    assert.equal(code, 0, stderr);
  }
  async function isRefused(doing: Promise<Output>, webhook: string): Promise<void> {
    assert.match((await doing).stderr, new RegExp(`failed calling webhook "${webhook}\\.validate\\.meshward\\.io"`));
  }

  before(async () => {
    plane = await startControlPlane({ binaries: binaries(), controllers: true, definitions: true });
    meshward = await startMeshward({ plane, policies });
    await meshward.ready();
    await register(plane, meshward, "Ignore");
    const labelled = (name: string): Raw => ({ ...namespace(name), metadata: { name, labels: isProtected } });
    const blocked = virtualService(guarded, "blocked", [90, 10]);
    await passes(apply(labelled(guarded), labelled(ended), namespace(open)));
    await passes(
      apply(
        ...[guarded, open].flatMap((name) => [deployment(name, "app"), service(name, "app")]),
        ...[guarded, ended, open].map((name) => virtualService(name, "app", [90, 10])),
        { ...blocked, metadata: { ...blocked.metadata, finalizers: [finalizer] } },
      ),
    );
    await passes(send(["label", "namespace", "kube-system", "meshward.io/protected=true"], "admin"));
    await passes(inGuarded("delete", "virtualservice", "blocked", "--wait=false"));
    await meshward.stop();
  });
  after(async () => {
    await meshward?.stop();
    await plane?.close();
  });

  const image = (name: string) => ["set", "image", `deployment/${name}`, "app=example.com/app:2"];

  test("in a protected namespace, updates of workloads and Services are refused", async () => {
    await isRefused(inGuarded(...image("app")), "workloads-protected");
    await isRefused(inGuarded("label", "service", "app", "team=a"), "workloads-protected");
  });
  test("and so is everything of Istio", async () => {
    await isRefused(apply(virtualService(guarded, "new", [90, 10])), "mesh-protected");
    await isRefused(apply(virtualService(guarded, "app", [80, 20])), "mesh-protected");
    await isRefused(inGuarded("delete", "virtualservice", "app"), "mesh-protected");
  });
  test("and a change of its labels", async () => {
    await isRefused(
      send(["label", "namespace", guarded, "meshward.io/protected-"], "tenant"),
      "namespace-labels-protected",
    );
  });
  test("Ingresses are made and changed, because other controllers serve most of them", async () => {
    await passes(inGuarded("create", "ingress", "app", "--rule=app.example.com/=app:80"));
    await passes(inGuarded("annotate", "ingress", "app", "acme.cert-manager.io/http01-edit-in-place=true"));
    await passes(inGuarded("delete", "ingress", "app"));
  });
  test("workloads are made, scaled and deleted", async () => {
    await passes(apply(deployment(guarded, "new"), service(guarded, "new")));
    await passes(inGuarded("scale", "deployment", "new", "--replicas=0"));
    await passes(inGuarded("delete", "deployment,service", "new"));
  });
  test("the finalizer of an object that is being deleted can be removed", async () => {
    const patch = '{"metadata":{"finalizers":null}}';
    await passes(inGuarded("patch", "virtualservice", "blocked", "--type=merge", "--patch", patch));
  });
  test("a protected namespace can be deleted with what it holds", async () => {
    await passes(send(["delete", "namespace", ended, "--timeout=120s"], "tenant"));
  });
  test("istiod and Kubernetes' controllers can write", async () => {
    for (const as of ["istiod", "namespaceController"] as const)
      await passes(send(["--namespace", guarded, "annotate", "deployment", "app", `by=${as}`, "--overwrite"], as));
  });
  test("kube-system works, also where it is labelled as protected", async () => {
    await passes(apply(deployment("kube-system", "dns")));
    await passes(send(["--namespace", "kube-system", ...image("dns")], "tenant"));
  });
  test("other namespaces work", async () => {
    await passes(send(["--namespace", open, ...image("app")], "tenant"));
    await passes(apply(virtualService(open, "app", [80, 20])));
    await passes(send(["label", "namespace", open, "team=a"], "tenant"));
  });
});
