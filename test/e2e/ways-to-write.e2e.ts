import assert from "node:assert/strict";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, beforeEach, describe, test } from "node:test";
import type { Output } from "./control-plane.ts";
import {
  type Environment,
  environment,
  isDenied,
  isFree,
  legacy,
  namespace,
  type Raw,
  send,
  skip,
  stored,
  succeeds,
  virtualService,
} from "./environment.ts";

// Whichever version an object is written in and whichever verb writes it, it is judged alike.

const here = "ways";
const wrongSum = /virtual-service-weights-not-100/;
const passes = (output: Output) =>
  isFree(output, /virtual-service-weights-not-100|peer-authentication-permissive|namespace-protection-removed/);

describe("every way to write is judged", { skip }, () => {
  let plane: Environment["plane"];
  before(async () => {
    ({ plane } = await environment());
    await succeeds(plane, ["apply", "-f", "-"], [namespace(here, { "meshward.io/protected": "true" })]);
  });
  const kubectl = (args: readonly string[], objects?: readonly object[]) =>
    send(plane, ["--namespace", here, ...args], { as: "tenant", ...(objects === undefined ? {} : { objects }) });
  const find = (kind: string, name: string) => stored(plane, kind, name, here);

  describe("versions", () => {
    for (const version of ["v1alpha3", "v1beta1", "v1"])
      test(`VirtualService ${version}`, async () => {
        const name = `versioned-${version}`;
        const kind = `virtualservices.${version}.networking.istio.io`;
        const output = await kubectl(["apply", "-f", "-"], [virtualService(here, name, [90, 20], version)]);
        isDenied(output, wrongSum, /90 \+ 20 = 110/, new RegExp(`VirtualService ${here}/${name} cannot be created`));
        assert.equal(await find(kind, name), undefined);
        passes(await kubectl(["apply", "-f", "-"], [virtualService(here, name, [90, 10], version)]));
        assert.equal((await find(kind, name))?.apiVersion, `networking.istio.io/${version}`);
      });

    for (const version of ["v1beta1", "v1"])
      test(`PeerAuthentication ${version}`, async () => {
        const policy = (mode: string): Raw => ({
          apiVersion: `security.istio.io/${version}`,
          kind: "PeerAuthentication",
          metadata: { name: `versioned-${version}`, namespace: here },
          spec: { selector: { matchLabels: { app: version } }, mtls: { mode } },
        });
        isDenied(await kubectl(["apply", "-f", "-"], [policy("PERMISSIVE")]), /peer-authentication-permissive/);
        passes(await kubectl(["apply", "-f", "-"], [policy("STRICT")]));
      });

    test("an object stored in one version is judged when it is changed in another", async () => {
      passes(await kubectl(["apply", "-f", "-"], [virtualService(here, "migrated", [90, 10], "v1alpha3")]));
      isDenied(await kubectl(["apply", "-f", "-"], [virtualService(here, "migrated", [90, 20], "v1")]), wrongSum);
      passes(await kubectl(["apply", "-f", "-"], [virtualService(here, "migrated", [80, 20], "v1")]));
    });
  });

  describe("verbs", () => {
    const name = "written";
    const weightsOf = async (): Promise<unknown> =>
      (await find("virtualservice", name))?.spec.http[0].route.map(({ weight }: Raw) => weight);
    beforeEach(() => succeeds(plane, ["apply", "-f", "-"], [virtualService(here, name, [90, 10])]));
    const isKept = async () => assert.deepEqual(await weightsOf(), [90, 10]);
    const patch = (type: "json" | "merge", content: unknown, ...flags: readonly string[]) =>
      kubectl(["patch", "virtualservice", name, `--type=${type}`, `--patch=${JSON.stringify(content)}`, ...flags]);

    const second = "/spec/http/0/route/1/weight";
    test("patch, json", async () => {
      isDenied(await patch("json", [{ op: "replace", path: second, value: 20 }]), wrongSum);
      isDenied(await patch("json", [{ op: "remove", path: second }]), /90 \+ 0 \(not set\) = 90/);
      await isKept();
      const both = [80, 20].map((value, i) => ({ op: "replace", path: `/spec/http/0/route/${i}/weight`, value }));
      passes(await patch("json", both));
      assert.deepEqual(await weightsOf(), [80, 20]);
    });

    test("patch, merge", async () => {
      isDenied(await patch("merge", { spec: virtualService(here, name, [90, 20]).spec }), wrongSum);
      await isKept();
      passes(await patch("merge", { spec: virtualService(here, name, [50, 50]).spec }));
      assert.deepEqual(await weightsOf(), [50, 50]);
    });

    test("replace", async () => {
      isDenied(await kubectl(["replace", "-f", "-"], [virtualService(here, name, [90, 20])]), wrongSum);
      await isKept();
      passes(await kubectl(["replace", "-f", "-"], [virtualService(here, name, [70, 30])]));
    });

    test("replace --force deletes first: what is then denied is gone, and the denial is said", async () => {
      isDenied(await kubectl(["replace", "--force", "-f", "-"], [virtualService(here, name, [90, 20])]), wrongSum);
      assert.equal(await find("virtualservice", name), undefined);
      passes(await kubectl(["replace", "--force", "-f", "-"], [virtualService(here, name, [90, 10])]));
      await isKept();
    });

    test("edit by a script: denied, and nothing is stored", async () => {
      const editor = join(plane.folder, "editor.sh");
      writeFileSync(editor, '#!/bin/sh\nsed -i "s/weight: 10$/weight: 20/" "$1"\n');
      chmodSync(editor, 0o755);
      const args = ["--namespace", here, "edit", "virtualservice", name];
      const output = await send(plane, args, { as: "tenant", env: { KUBE_EDITOR: editor } });
      assert.notEqual(output.code, 0, output.stdout);
      assert.match(output.stderr, wrongSum);
      await isKept();
    });

    test("create, apply and apply --server-side", async () => {
      const wrong = [virtualService(here, "new", [90, 20])];
      for (const args of [["create"], ["apply"], ["apply", "--server-side"]])
        isDenied(await kubectl([...args, "-f", "-"], wrong), wrongSum, new RegExp(`VirtualService ${here}/new`));
      assert.equal(await find("virtualservice", "new"), undefined);
    });

    test("the status subresource is nobody's concern", async () => {
      passes(await patch("merge", { status: { observedGeneration: 1 } }, "--subresource=status"));
      await isKept();
    });

    test("label and annotate", async () => {
      passes(await kubectl(["label", "virtualservice", name, "team=shop"]));
      passes(await kubectl(["annotate", "virtualservice", name, "note=seen"]));
    });
  });

  describe("what was there before Meshward", () => {
    const there = ["--namespace", legacy.namespace];
    test("is warned about and blocks nobody", async () => {
      const output = await send(plane, [...there, "label", "virtualservice", legacy.virtualService, "team=shop"]);
      assert.equal(output.code, 0, output.stderr);
      assert.match(output.stderr, /^Warning: .*\[virtual-service-weights-not-100\] /m);
    });
    test("may be put right, and then not be put wrong again", async () => {
      const right = virtualService(legacy.namespace, legacy.virtualService, [60, 40]);
      passes(await send(plane, ["replace", "-f", "-"], { objects: [right] }));
      const wrong = virtualService(legacy.namespace, legacy.virtualService, [60, 60]);
      isDenied(await send(plane, ["replace", "-f", "-"], { objects: [wrong] }), wrongSum);
    });
  });

  describe("the labels of a protected namespace", () => {
    const guarded = "ways-guarded";
    const protection = "meshward.io/protected";
    before(() => succeeds(plane, ["apply", "-f", "-"], [namespace(guarded, { [protection]: "true" })]));
    const isProtected = async () =>
      assert.equal((await stored(plane, "namespace", guarded))?.metadata.labels[protection], "true");
    const removed = /namespace-protection-removed/;
    const tenant = { as: "tenant" } as const;

    test("label, patch and replace", async () => {
      isDenied(await send(plane, ["label", "namespace", guarded, `${protection}-`], tenant), removed);
      const content = JSON.stringify({ metadata: { labels: { [protection]: null } } });
      isDenied(
        await send(plane, ["patch", "namespace", guarded, "--type=merge", `--patch=${content}`], tenant),
        removed,
      );
      isDenied(await send(plane, ["replace", "-f", "-"], { ...tenant, objects: [namespace(guarded)] }), removed);
      await isProtected();
    });

    for (const subresource of ["status", "finalize"])
      test(`namespaces/${subresource}`, async () => {
        const there = (await stored(plane, "namespace", guarded)) as Raw;
        delete there.metadata.labels[protection];
        const args = ["replace", "--raw", `/api/v1/namespaces/${guarded}/${subresource}`, "-f", "-"];
        isDenied(await send(plane, args, { ...tenant, objects: [there] }), removed);
        await isProtected();
      });

    test("other labels and annotations are free", async () => {
      passes(await send(plane, ["annotate", "namespace", guarded, "note=seen"], tenant));
    });
  });
});
