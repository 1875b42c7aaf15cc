import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import type { Output } from "./control-plane.ts";
import {
  type Environment,
  environment,
  isDenied,
  isQuiet,
  isWarned,
  namespace,
  type Raw,
  seen,
  send,
  skip,
  stored,
  succeeds,
} from "./environment.ts";
import { background, nextSecond, objectNamed, objectsIn, startFromNothing, startOver } from "./walkthrough.ts";
import type { UserName } from "./users.ts";

// The walkthrough's manifests as a person applies them, one by one; then each changed as somebody might.

describe("the walkthrough", { skip }, () => {
  let all: Environment;
  before(async () => {
    all = await environment();
  });
  const send1 = async (raw: Raw, as: UserName = "tenant"): Promise<Output> => {
    await nextSecond();
    const output = await send(all.plane, ["apply", "-f", "-"], { objects: [raw], as });
    await seen(all);
    return output;
  };
  async function remove(raw: Raw): Promise<Output> {
    const args = ["delete", "--wait=false", "-f", "-"];
    const output = await send(all.plane, args, { objects: [raw], as: "tenant" });
    await seen(all);
    return output;
  }
  const find = ({ kind, metadata }: Raw) => stored(all.plane, kind, metadata.name, metadata.namespace ?? "default");
  /** Refused, and what is stored is what was stored before. */
  async function refuses(raw: Raw, ...texts: readonly RegExp[]): Promise<void> {
    const before = await find(raw);
    isDenied(await send1(raw), ...texts);
    assert.deepEqual(await find(raw), before);
  }
  async function keeps(raw: Raw, ...texts: readonly RegExp[]): Promise<void> {
    const before = await find(raw);
    isDenied(await remove(raw), ...texts);
    assert.deepEqual(await find(raw), before);
  }

  test("01: new namespaces are enrolled; billing is told that it has no default deny and no STRICT mode", async () => {
    await startFromNothing(all);
    const objects = await objectsIn("01");
    const output = await send(all.plane, ["apply", "-f", "-"], { objects, as: "tenant" });
    isWarned(
      output,
      /"billing" joins the ambient mesh/,
      /namespace-default-deny-missing/,
      /namespace-mtls-not-strict/,
      /"storefront" joins the ambient mesh/,
    );
    for (const name of ["billing", "storefront"])
      assert.equal((await find(namespace(name)))?.metadata.labels["istio.io/dataplane-mode"], "ambient");
    const applied = await succeeds(all.plane, ["apply", "-f", "-"], background());
    // The workload of billing comes before its policies, of which the Namespace is told. Warnings of kubectl itself name no rule.
    const said = [...applied.stderr.matchAll(/^Warning: (.+?): \[([a-z0-9-]+)\] (?!Fix: )/gm)];
    assert.deepEqual(
      said.map(([, object, rule]) => `${object} ${rule}`),
      ["namespace-default-deny-missing", "namespace-mtls-not-strict"].map((rule) => `Namespace billing ${rule}`),
    );
  });

  describe("02: the canary of catalog", () => {
    before(() => startOver(all));
    const virtualService = (change?: (route: Raw[]) => void) =>
      objectNamed("VirtualService", "catalog-split", (raw) => change?.(raw.spec.http[0].route));

    test("is allowed", async () => {
      isQuiet(await send1(await objectNamed("DestinationRule", "catalog-versions")));
      isQuiet(await send1(await virtualService()));
    });
    test("02': with weights of 110, of 80, and with a subset that nobody defines it is not", async () => {
      const weight = (value: number | undefined) =>
        virtualService(([, second]) => {
          if (second) second.weight = value;
        });
      await refuses(await weight(30), /80 \+ 30 = 110/, /spec\.http\[0\]\.route/);
      await refuses(await weight(undefined), /80 \+ 0 \(not set\) = 80/);
      const next = await virtualService(([, second]) => {
        if (second) second.destination.subset = "next";
      });
      await refuses(next, /catalog-versions/, /"stable", "canary"/, /spec\.http\[0\]\.route\[1\]\.destination\.subset/);
    });
    test("what kubectl prints of a denial, from its first line to its last", async () => {
      const { stderr } = await send1(
        await virtualService(([, second]) => {
          if (second) second.weight = 30;
        }),
      );
      // Before it, kubectl quotes the patch that it has sent.
      const [, said = ""] = stderr.split("admission webhook ");
      assert.deepEqual(said.trimEnd().split("\n"), [
        '"mesh.validate.meshward.io" denied the request: VirtualService default/catalog-split cannot be changed: 1 problem',
        "- [virtual-service-weights-not-100] spec.http[0].route: Weights sum to 110, not to 100: 80 + 30 = 110",
        "  Fix: Change the weights of the route so that their sum is 100. Set a weight for every destination, 0 for no traffic.",
        "More: https://github.com/meshward/meshward/blob/main/policies/rules/virtual-service-weights-not-100.md",
      ]);
    });
  });

  describe("03: mutual TLS", () => {
    const policy = (name: string, mode = "STRICT") =>
      objectNamed("PeerAuthentication", name, (raw) => {
        raw.spec.mtls.mode = mode;
      });
    const strict = async () => {
      isQuiet(await send1(await policy("default")));
      isQuiet(await send1(await policy("strict-billing")));
    };

    test("a second mesh-wide policy has no effect, a second later", async () => {
      await startOver(all);
      await strict();
      isWarned(await send1(await policy("all-strict")), /the older istio-system\/default applies/);
    });

    test("03': PERMISSIVE and port exemptions are refused in billing", async () => {
      await startOver(all);
      await strict();
      await refuses(await policy("strict-billing", "PERMISSIVE"), /peer-authentication-permissive/);
      const port = await objectNamed("PeerAuthentication", "strict-billing", (raw) => {
        raw.spec.selector = { matchLabels: { app: "invoices" } };
        raw.spec.portLevelMtls = { 8080: { mode: "PERMISSIVE" } };
      });
      await refuses(port, /8080/);
    });

    test("03': deleted while the mesh is STRICT, strict-billing is not missed", async () => {
      await startOver(all);
      await strict();
      isQuiet(await remove(await policy("strict-billing")));
    });

    test("03': what billing relies on is not weakened, wherever it lives", async () => {
      await startOver(all);
      isQuiet(await send1(await policy("strict-billing")));
      await keeps(await policy("strict-billing"), /namespace-mtls-weakened/, /billing/);
      for (const name of ["default", "all-strict"]) {
        await startOver(all);
        isQuiet(await send1(await policy(name)));
        await refuses(await policy(name, "PERMISSIVE"), /namespace-mtls-weakened/, /billing/);
      }
    });
  });

  describe("04: who may call", () => {
    before(() => startOver(all));
    const denyAll = (change?: (raw: Raw) => void) => objectNamed("AuthorizationPolicy", "nobody", change);
    const allowCheckout = () => objectNamed("AuthorizationPolicy", "checkout-may-bill");

    test("04': an allow without a default deny is refused to a person", async () => {
      await refuses(await allowCheckout(), /authorization-policy-without-default-deny/);
      const args = ["apply", "--dry-run=server", "-f", "-"];
      const dryRun = await send(all.plane, args, { objects: [await allowCheckout()], as: "flux" });
      assert.equal(dryRun.code, 0);
      assert.match(dryRun.stderr, /^Warning: .*\[authorization-policy-without-default-deny\] /m);
    });
    test("a default deny, then who may call", async () => {
      isQuiet(await send1(await denyAll()));
      assert.equal((await send1(await allowCheckout())).code, 0);
    });
    test("04': the default deny is not taken away, narrowed, disarmed or overridden", async () => {
      await keeps(await denyAll(), /namespace-default-deny-removed/);
      const ways: readonly ((raw: Raw) => void)[] = [
        (raw) => (raw.spec = { selector: { matchLabels: { app: "other" } } }),
        (raw) => (raw.metadata.annotations = { "istio.io/dry-run": "true" }),
        (raw) => (raw.spec = { rules: [{}] }),
      ];
      for (const change of ways) await refuses(await denyAll(change));
      for (const where of ["billing", "istio-system"]) {
        const open = await denyAll((raw) => {
          raw.metadata = { name: "open", namespace: where };
          raw.spec = { action: "ALLOW", rules: [{}] };
        });
        await refuses(open, /billing/);
      }
    });
    test("04': the label that protects a namespace stays", async () => {
      const vault = (value: string) => namespace("vault", { "meshward.io/protected": value });
      await succeeds(all.plane, ["apply", "-f", "-"], [vault("true")]);
      await refuses(vault("false"), /namespace-protection-removed/);
    });
  });

  describe("05: the canary of invoices", () => {
    const canary = (kind: "VirtualService" | "DestinationRule", change?: (raw: Raw) => void) =>
      objectNamed(kind, "invoices", change);
    const withoutCanary = () => canary("DestinationRule", (raw) => raw.spec.subsets.pop());

    test("the VirtualService waits for its DestinationRule; sending both again passes", async () => {
      await startOver(all);
      const objects = await objectsIn("05");
      const output = await send(all.plane, ["apply", "-f", "-"], { objects, as: "tenant" });
      isDenied(output, /invoices\.billing\.svc\.cluster\.local/);
      assert.match(output.stdout, /destinationrule\S* created/);
      assert.equal(await find(await canary("VirtualService")), undefined);
      const again = await send(all.plane, ["apply", "-f", "-"], { objects, as: "tenant" });
      assert.equal(again.code, 0, again.stderr);
    });
    test("05': a subset in use is not taken away; one without traffic may go", async () => {
      await seen(all);
      await refuses(await withoutCanary(), /"canary"/);
      await keeps(await canary("DestinationRule"), /subset/);
      const ended = await canary("VirtualService", (raw) => {
        raw.spec.http[0].route[0].weight = 100;
        raw.spec.http[0].route[1].weight = 0;
      });
      assert.equal((await send1(ended)).code, 0);
      assert.equal((await send1(await withoutCanary())).code, 0);
    });
    test("Flux is told of both, and stopped by neither", async () => {
      await startOver(all);
      const first = await send1(await canary("VirtualService"), "flux");
      assert.equal(first.code, 0, first.stderr);
      assert.match(first.stderr, /^Warning: .*\[virtual-service-subset-not-found\] /m);
      assert.equal((await send1(await canary("DestinationRule"), "flux")).code, 0);
      const last = await send1(await withoutCanary(), "flux");
      assert.equal(last.code, 0, last.stderr);
      assert.match(last.stderr, /^Warning: .*\[virtual-service-subset-not-found\] .*"canary"/m);
    });
  });
});
