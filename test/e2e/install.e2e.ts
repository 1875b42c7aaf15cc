import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { documentDefinitions } from "../../src/deploy/definitions.ts";
import { rules } from "../../src/rules/index.ts";
import { selfSigned } from "../../src/tls/self-signed.ts";
import { meshward } from "../cli/terminal.ts";
import { noImage } from "../image/image-root.ts";
import { type ControlPlane, startControlPlane } from "./control-plane.ts";
import type { Helm } from "./binaries.ts";
import { binaries, isDenied, namespace, type Raw, skip, succeeds, virtualService } from "./environment.ts";
import { type Node, startNode } from "./node.ts";
import { until } from "./program.ts";
import { chart, helmOn, kustomizations, noHelm, objectsIn, type Values } from "./rendered.ts";
import { wayOut } from "./meshward.ts";

// Meshward as a user installs it: the image's files, started as the Deployment says, with the permissions of the service
// account and nothing more, called by the API server through the Service. Kubernetes' own controllers run the rollout.

const own = "meshward-system";
const dist = fileURLToPath(new URL("../../dist/", import.meta.url));
const replicas = 2;

describe("an installation", { skip: skip || noHelm || noImage }, () => {
  let plane: ControlPlane;
  let node: Node;
  let authority = "";

  before(async () => {
    plane = await startControlPlane({ binaries: binaries(), controllers: true, workloads: true, definitions: true });
    await succeeds(plane, ["create", "namespace", "istio-system"]);
    const folder = join(plane.folder, "certificate");
    await selfSigned({ folder, hosts: [`meshward.${own}.svc`], now: Date.now() });
    authority = readFileSync(join(folder, "ca.crt"), "utf8");
    node = startNode({ plane, namespace: own, dist });
  });
  after(async () => {
    await node?.close();
    await plane?.close();
  });

  /** Each Helm with another source of the certificate. */
  const values = (which: Helm): Values =>
    which === "helm4"
      ? { replicas }
      : { replicas, certificates: { source: "secret" }, webhooks: { caBundle: authority } };

  /** The namespace as docs/install.md has it, with the certificate. */
  async function prepare(): Promise<void> {
    const { stdout } = await plane.kubectl(["get", "namespace", own, "--ignore-not-found", "--output=name"]);
    if (stdout === "") await succeeds(plane, ["create", "namespace", own]);
    await succeeds(plane, ["label", "namespace", own, ...outsideAndRestricted, "--overwrite"]);
    const folder = join(plane.folder, "certificate");
    const files = ["tls.crt", "tls.key"].map((name) => `--from-file=${name}=${join(folder, name)}`);
    const made = await succeeds(plane, [
      ...["create", "secret", "generic", "meshward-certificate", "--namespace", own, ...files],
      ...["--dry-run=client", "--output=json"],
    ]);
    await succeeds(plane, ["apply", "-f", "-"], [JSON.parse(made.stdout) as object]);
  }
  const outsideAndRestricted = [
    "istio-injection=disabled",
    "istio.io/dataplane-mode=none",
    "pod-security.kubernetes.io/enforce=restricted",
  ];

  async function runHelm(which: Helm, args: readonly string[], given: Values = {}): Promise<string> {
    const { code, stdout, stderr } = await helmOn(plane.kubeconfig("admin"), which, args, given);
    assert.equal(code, 0, `${stderr}\n${stdout}\n${node.output("meshward").slice(-2000)}`);
    return stdout;
  }

  const wrong = virtualService("shop", "wrong", [60, 60]);
  const right = virtualService("shop", "right", [60, 40]);
  const apply = (object: Raw, ...options: readonly string[]) =>
    plane.kubectl(["apply", "-f", "-", ...options], { input: JSON.stringify(object), as: "tenant" });

  /** Webhooks take a moment to be known to the API server. */
  const isDeniedSoon = () =>
    until("a wrong VirtualService to be denied", async () => {
      const output = await apply(wrong, "--dry-run=server");
      return output.code === 0 ? undefined : output;
    }).then((output) => isDenied(output, /virtual-service-weights-not-100/));

  async function everythingIsReady(): Promise<void> {
    await succeeds(plane, ["rollout", "status", "deployment/meshward", "--namespace", own, "--timeout=120s"]);
  }

  let asked = 0;
  /** All requests of the service account since the installation were allowed. While it is removed, some are not. */
  async function nothingWasForbidden(): Promise<void> {
    const forbidden = () =>
      plane
        .auditLog()
        .slice(asked)
        .filter(({ responseStatus }) => responseStatus?.code === 403)
        .map(({ verb, requestURI }) => `${verb} ${requestURI}`);
    // The self-test asks for something that Meshward must deny, through the API server.
    const selfTest = `create /apis/coordination.k8s.io/v1/namespaces/${own}/leases?dryRun=All`;
    await until("the self-test", () => (forbidden().includes(selfTest) ? true : undefined));
    assert.deepEqual(new Set(forbidden()), new Set([selfTest]));
    const requests = plane.auditLog().slice(asked);
    assert.ok(requests.some(({ requestURI }) => requestURI.includes("/virtualservices")));
  }

  /** Objects that have the name or the label of Meshward, in the whole cluster. */
  async function left(): Promise<readonly string[]> {
    const kinds = [
      ...[
        "clusterrole",
        "clusterrolebinding",
        "role",
        "rolebinding",
        "serviceaccount",
        "configmap",
        "secret",
        "service",
      ],
      ...["deployment", "replicaset", "pod", "job", "poddisruptionbudget", "networkpolicy", "resourcequota", "lease"],
      ...["validatingwebhookconfiguration", "mutatingwebhookconfiguration", "crd"],
    ];
    const { stdout } = await succeeds(plane, ["get", kinds.join(","), "--all-namespaces", "--output=name"]);
    return stdout.split("\n").filter((name) => name.includes("meshward"));
  }

  const definitions = documentDefinitions(rules).map(({ metadata }) => metadata.name);
  /** What replicas write themselves stays in their namespace, blocks nothing, and goes with it: docs/uninstall.md. */
  const inNamespace = new Set([
    ...["secret/meshward-tls", "secret/meshward-certificate", "lease.coordination.k8s.io/meshward"],
    // Helm and `kubectl delete` keep them here, because all policies would go with them.
    ...definitions.map((name) => `customresourcedefinition.apiextensions.k8s.io/${name}`),
  ]);

  async function nothingBlocks(): Promise<void> {
    await until("nothing of Meshward to be left that blocks", async () => {
      const names = await left();
      const others = names.filter((name) => !inNamespace.has(name));
      if (others.length > 0) throw new Error(others.join(", "));
      return true;
    });
    assert.deepEqual(node.running(), []);
    await isAdmittedSoon();
  }

  /** The API server takes a moment to know that there are no webhooks any more. */
  async function isAdmittedSoon(): Promise<void> {
    await until("a wrong VirtualService to be admitted", async () => {
      const { code, stderr } = await apply(wrong);
      if (code !== 0) throw new Error(stderr);
      return true;
    });
    await succeeds(plane, ["delete", "virtualservice", "wrong", "--namespace", "shop"]);
  }

  before(async () => {
    await succeeds(plane, ["apply", "-f", "-"], [namespace("shop", { "meshward.io/protected": "true" })]);
    await prepare();
  });

  for (const which of ["helm4", "helm3"] as const satisfies readonly Helm[])
    describe(`with ${which}`, () => {
      test("installs, becomes ready, and denies through the Service", async () => {
        asked = plane.auditLog().length;
        const args = ["install", "meshward", chart, "--namespace", own, "--wait", "--timeout", "150s"];
        const said = await runHelm(which, args, values(which));
        assert.match(said, /kubectl delete validatingwebhookconfiguration,mutatingwebhookconfiguration meshward/);
        await everythingIsReady();
        assert.equal(node.running().length, replicas);
        await isDeniedSoon();
        const { code, stderr } = await apply(right);
        assert.equal(code, 0, stderr);
        await nothingWasForbidden();
      });

      test("passes helm test", async () => {
        assert.match(await runHelm(which, ["test", "meshward", "--namespace", own, "--timeout", "60s"]), /Succeeded/);
      });

      test("is upgraded without a failed review, where it fails closed", async () => {
        const before = node.running();
        const over = new AbortController();
        let count = 0;
        const failed: string[] = [];
        const writing = (async () => {
          while (!over.signal.aborted) {
            const annotations = { count: String(++count) };
            const path = "/apis/networking.istio.io/v1/namespaces/shop/virtualservices/right";
            const answer = await plane.patch(path, { metadata: { annotations } }, "tenant");
            if (answer.status !== 200) failed.push(answer.body.slice(0, 300));
            await new Promise((resolve) => setTimeout(resolve, 20));
          }
        })();
        const policies = [
          {
            apiVersion: "meshward.io/v1alpha1",
            kind: "MeshwardPolicy",
            metadata: { name: "shops" },
            spec: { protectedNamespaces: { names: ["shop"] } },
          },
        ];
        const args = ["upgrade", "meshward", chart, "--namespace", own, "--wait", "--timeout", "150s"];
        await runHelm(which, args, { ...values(which), policies });
        await everythingIsReady();
        await until(
          "the old pods to end",
          () => (node.running().some((name) => before.includes(name)) ? undefined : true),
          { timeoutMs: 120_000 },
        );
        over.abort();
        await writing;
        assert.deepEqual(failed, []);
        assert.ok(count > 50, String(count));
        assert.match(node.output(node.running()[0] ?? ""), /"policies":\[[^\]]*shops/);
        await isDeniedSoon();
      });

      test("is uninstalled by its hook, and leaves nothing that blocks", async () => {
        await runHelm(which, ["uninstall", "meshward", "--namespace", own, "--wait", "--timeout", "120s"]);
        assert.match(node.output("meshward-unregister"), /validatingwebhookconfiguration\/meshward deleted/);
        await nothingBlocks();
      });
    });

  describe("with manifests and kubectl", () => {
    let text = "";
    const kubectl = (...args: readonly string[]) => plane.kubectl(args, { input: text });

    test("is applied, becomes ready, and denies through the Service", async () => {
      asked = plane.auditLog().length;
      text = (await meshward(["manifests", "--replicas", String(replicas)])).out;
      const { code, stderr } = await kubectl("apply", "-f", "-");
      assert.equal(code, 0, stderr);
      await everythingIsReady();
      await isDeniedSoon();
      await nothingWasForbidden();
    });

    test("takes a policy of the cluster into force without a restart", async () => {
      const policy = {
        apiVersion: "meshward.io/v1alpha1",
        kind: "MeshwardPolicy",
        metadata: { name: "weights-may-be-wrong" },
        spec: { rules: [{ id: "virtual-service-weights-not-100", mode: "warn" }] },
      };
      await succeeds(plane, ["apply", "-f", "-"], [policy]);
      await until("the policy to be in force", async () =>
        (await apply(wrong, "--dry-run=server")).code === 0 ? true : undefined,
      );
      await succeeds(plane, ["delete", "meshwardpolicy", "weights-may-be-wrong"]);
      await isDeniedSoon();
    });

    test("can be applied again, which changes nothing", async () => {
      const { code, stdout, stderr } = await kubectl("apply", "-f", "-");
      assert.equal(code, 0, stderr);
      const changed = stdout.split("\n").filter((line) => line !== "" && !line.endsWith(" unchanged"));
      // kubectl replaces the selector of a budget each time (its patchStrategy is `replace`), also by the same one.
      assert.deepEqual(changed, ["poddisruptionbudget.policy/meshward configured"]);
    });

    test("denies what docs/install.md shows", async () => {
      const page = readFileSync(new URL("../../docs/install.md", import.meta.url), "utf8");
      const [, sample = ""] = /kubectl apply --dry-run=server -f - <<'END'\n([\s\S]*?)\nEND\n/.exec(page) ?? [];
      const output = await plane.kubectl(["apply", "--dry-run=server", "-f", "-"], { input: sample, as: "tenant" });
      isDenied(output, /virtual-service-weights-not-100/);
    });

    test("is the same as the base of kustomize, but for the replicas", async () => {
      const before = await generations();
      await succeeds(plane, ["apply", "-k", join(kustomizations, "base")]);
      const after = await generations();
      assert.ok(after.size > 5);
      const changed = [...after].filter(([name, generation]) => before.get(name) !== generation);
      assert.deepEqual(
        changed.map(([name]) => name),
        ["Deployment meshward"],
      );
      await everythingIsReady();
      assert.equal(node.running().length, 3);
    });

    /** How often the specification of each object was changed, where the API server counts that. */
    async function generations(): Promise<ReadonlyMap<string, number>> {
      const { stdout } = await kubectl("get", "-f", "-", "--output=json");
      const { items } = JSON.parse(stdout) as { items: Raw[] };
      const counted = items.filter(({ metadata }) => metadata.generation !== undefined);
      return new Map(counted.map(({ kind, metadata }) => [`${kind} ${metadata.name}`, metadata.generation as number]));
    }

    test("does not stand in the way when it is gone, once the way out was taken", async () => {
      await succeeds(plane, ["scale", "deployment/meshward", "--namespace", own, "--replicas=0"]);
      await until("the pods to end", () => (node.running().length === 0 ? true : undefined), { timeoutMs: 120_000 });
      const refused = await apply(wrong);
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, /failed calling webhook "mesh-protected\.validate\.meshward\.io"/);
      await succeeds(plane, [...wayOut]);
      await isAdmittedSoon();
    });

    for (const overlay of ["fail-closed", "fail-open", "ha", "no-network-policy", "strict"])
      test(`has an overlay ${overlay} that the API server accepts`, async () => {
        const folder = join(kustomizations, "overlays", overlay);
        await succeeds(plane, ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-k", folder]);
      });

    test("is deleted, and leaves nothing", async () => {
      const kept = new Set(["Namespace", "CustomResourceDefinition"]);
      const objects = objectsIn(text).filter(({ kind }) => !kept.has(kind));
      const input = JSON.stringify({ apiVersion: "v1", kind: "List", items: objects });
      const { code, stderr } = await plane.kubectl(["delete", "--ignore-not-found", "-f", "-"], { input });
      assert.equal(code, 0, stderr);
      await nothingBlocks();
      await succeeds(plane, ["delete", "namespace", own, "--timeout=120s"]);
      await succeeds(plane, ["delete", "crd", ...definitions]);
      assert.deepEqual(await left(), []);
    });
  });
});
