import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import {
  type Environment,
  environment,
  isQuiet,
  isWarned,
  namespace,
  send,
  skip,
  stored,
  succeeds,
} from "./environment.ts";

const mode = "istio.io/dataplane-mode";
const joins = (name: string) => new RegExp(`^Warning: Namespace "${name}" joins the ambient mesh: .*${mode}=none$`);

describe("namespaces join the mesh", { skip }, () => {
  let plane: Environment["plane"];
  before(async () => ({ plane } = await environment()));

  const modeOf = async (name: string): Promise<unknown> =>
    (await stored(plane, "namespace", name))?.metadata.labels[mode];
  const isMember = async (name: string) => assert.equal(await modeOf(name), "ambient");
  const isLeftAlone = async (name: string) => assert.equal(await modeOf(name), undefined);
  const apply = (object: object, ...flags: readonly string[]) =>
    send(plane, ["apply", "-f", "-", ...flags], { objects: [object], as: "tenant" });

  test("kubectl create: enrolled, and told so", async () => {
    isWarned(await send(plane, ["create", "namespace", "created"], { as: "tenant" }), joins("created"));
    await isMember("created");
  });

  test("kubectl apply twice: enrolled once, unchanged afterwards, and no difference left", async () => {
    const object = namespace("applied", { team: "shop" });
    isWarned(await apply(object), joins("applied"));
    const before = await stored(plane, "namespace", "applied");
    const again = await apply(object);
    isQuiet(again);
    assert.match(again.stdout, /unchanged/);
    isQuiet(await send(plane, ["diff", "-f", "-"], { objects: [object], as: "tenant" }));
    assert.equal(
      (await stored(plane, "namespace", "applied"))?.metadata.resourceVersion,
      before?.metadata.resourceVersion,
    );
    await isMember("applied");
  });

  test("kubectl apply of a changed manifest keeps the label, and says nothing", async () => {
    await apply(namespace("relabelled", { team: "shop" }));
    isQuiet(await apply(namespace("relabelled", { team: "checkout" })));
    await isMember("relabelled");
  });

  test("server-side apply under a manager of its own: no conflict, neither again nor when another takes the label over", async () => {
    const flags = (manager: string) => ["--server-side", `--field-manager=${manager}`];
    const object = namespace("server-side", { team: "shop" });
    isWarned(await apply(object, ...flags("platform")), joins("server-side"));
    await isMember("server-side");
    isQuiet(await apply(object, ...flags("platform")));
    await isMember("server-side");
    isQuiet(await send(plane, ["diff", "--server-side", "--field-manager=platform", "-f", "-"], { objects: [object] }));
    isQuiet(await apply(namespace("server-side", { [mode]: "none" }), ...flags("security")));
    assert.equal(await modeOf("server-side"), "none");
    isQuiet(await apply(object, ...flags("platform")));
    assert.equal(await modeOf("server-side"), "none");
  });

  // kubectl and Flux take over all that client-side apply managed, the whole of the labels with it, and let go of those
  // that their manifest does not have.
  test("client-side apply, then a reconciler's server-side apply: the label stays", async () => {
    const object = namespace("adopted");
    isWarned(await apply(object), joins("adopted"));
    isQuiet(await apply(object, "--server-side", "--field-manager=kustomize-controller"));
    await isMember("adopted");
  });

  test("labelled by hand: what somebody has decided stays", async () => {
    for (const [name, labels] of Object.entries({
      "by-hand-ambient": { [mode]: "ambient" },
      "by-hand-none": { [mode]: "none" },
      "by-hand-sidecar": { "istio-injection": "enabled" },
      "by-hand-revision": { "istio.io/rev": "stable" },
    })) {
      isQuiet(await apply(namespace(name, labels)));
      assert.deepEqual((await stored(plane, "namespace", name))?.metadata.labels, {
        ...labels,
        "kubernetes.io/metadata.name": name,
      });
    }
  });

  test("a label that somebody takes off stays off", async () => {
    await apply(namespace("left"));
    await isMember("left");
    await succeeds(plane, ["label", "namespace", "left", `${mode}-`]);
    await isLeftAlone("left");
    isQuiet(await apply(namespace("left", { team: "shop" })));
    await isLeftAlone("left");
  });

  test("named like infrastructure: left alone, by exact name and by prefix", async () => {
    for (const name of ["cert-manager", "kube-extra", "istio-ingress", "gke-anything"]) {
      isQuiet(await send(plane, ["create", "namespace", name], { as: "tenant" }));
      await isLeftAlone(name);
    }
    // Meshward's own namespace is there before Meshward is.
    isQuiet(
      await send(plane, ["annotate", "namespace", "meshward-system", "example.com/owner=platform"], { as: "tenant" }),
    );
    await isLeftAlone("meshward-system");
  });

  test("a name that the API server makes: enrolled", async () => {
    const { metadata, ...rest } = namespace("");
    const object = { ...rest, metadata: { ...metadata, name: undefined, generateName: "preview-" } };
    const output = await send(plane, ["create", "-f", "-", "--output=name"], { objects: [object], as: "tenant" });
    isWarned(output, /^Warning: .* joins the ambient mesh/);
    await isMember(output.stdout.trim().replace("namespace/", ""));
  });

  test("a dry run says what would happen and stores nothing", async () => {
    isWarned(await apply(namespace("rehearsed"), "--dry-run=server"), joins("rehearsed"));
    assert.equal(await stored(plane, "namespace", "rehearsed"), undefined);
  });

  test("replaced by force: enrolled anew", async () => {
    await succeeds(plane, ["create", "namespace", "forced"]);
    const args = ["replace", "--force", "--timeout=120s", "-f", "-"];
    isWarned(await send(plane, args, { objects: [namespace("forced")], as: "tenant" }), joins("forced"));
    await isMember("forced");
  });
});
