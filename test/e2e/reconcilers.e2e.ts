import assert from "node:assert/strict";
import { before, beforeEach, describe, test } from "node:test";
import type { Output } from "./control-plane.ts";
import { type Environment, environment, manifest, type Raw, send, skip, stored } from "./environment.ts";
import { objectNamed, objectsIn, startOver } from "./walkthrough.ts";
import type { UserName } from "./users.ts";

// Tools that apply a set in an order of their own and stop at the first failure. Whatever the order, they must arrive.

interface Tool {
  readonly as: UserName;
  /** As it writes: with kubectl's own flags. */
  readonly flags: readonly string[];
  /** Rehearses the whole set before it applies anything, and applies nothing after a denial. */
  readonly rehearses: boolean;
  /** Removes what is no longer in the set before it applies the rest. */
  readonly prunesFirst: boolean;
  order(one: Raw, other: Raw): number;
}

const by =
  (...keys: readonly ((raw: Raw) => string)[]) =>
  (one: Raw, other: Raw): number => {
    for (const key of keys) {
      const difference = key(one) < key(other) ? -1 : Number(key(one) > key(other));
      if (difference !== 0) return difference;
    }
    return 0;
  };
/** All of them make namespaces first. */
const stage = ({ kind }: Raw): string => (kind === "Namespace" ? "0" : "1");
const kind = (raw: Raw): string => raw.kind;
const group = (raw: Raw): string => raw.apiVersion.split("/")[0];
const where = ({ metadata }: Raw): string => metadata.namespace ?? "default";
const name = ({ metadata }: Raw): string => metadata.name;

const tools: Readonly<Record<string, Tool>> = {
  "Flux kustomize-controller": {
    as: "flux",
    flags: ["--server-side", "--force-conflicts", "--field-manager=kustomize-controller"],
    rehearses: true,
    prunesFirst: false,
    order: by(stage, group, kind, where, name),
  },
  "Argo CD, client side": {
    as: "argoCd",
    flags: [],
    rehearses: false,
    prunesFirst: true,
    order: by(stage, name, kind),
  },
  "Argo CD, server side": {
    as: "argoCd",
    flags: ["--server-side", "--force-conflicts", "--field-manager=argocd-controller"],
    rehearses: true,
    prunesFirst: true,
    order: by(stage, name, kind),
  },
  Helm: {
    as: "helm",
    flags: ["--server-side", "--force-conflicts", "--field-manager=helm"],
    rehearses: false,
    prunesFirst: false,
    order: by(stage, kind, name),
  },
};

describe("sets", { skip }, () => {
  let all: Environment;
  before(async () => {
    all = await environment();
  });
  beforeEach(() => startOver(all));
  const whole = () => objectsIn("01", "02", "03", "04", "05", "06", "07", "08");

  test("--dry-run=server of the whole folder in the wrong order only warns of what other files bring", async () => {
    const objects = (await whole()).toReversed();
    const output = await send(all.plane, ["apply", "--dry-run=server", "-f", "-"], { objects, as: "tenant" });
    assert.equal(output.code, 0, output.stderr);
    assert.match(output.stderr, /^Warning: .*\[virtual-service-subset-not-found\] /m);
    assert.match(output.stderr, /^Warning: .*\[authorization-policy-without-default-deny\] /m);
    assert.equal(await stored(all.plane, "virtualservice", "invoices", "billing"), undefined);
  });

  for (const [title, tool] of Object.entries(tools))
    describe(title, () => {
      const apply = (objects: readonly Raw[], ...flags: readonly string[]): Promise<Output> =>
        all.plane.kubectl(["apply", ...tool.flags, ...flags, "-f", "-"], {
          input: manifest(...objects.toSorted(tool.order)),
          as: tool.as,
        });
      const prune = (objects: readonly Raw[]): Promise<Output> =>
        all.plane.kubectl(["delete", "-f", "-"], {
          input: manifest(...objects.toSorted(tool.order).toReversed()),
          as: tool.as,
        });
      async function passes(doing: Promise<Output>): Promise<void> {
        const { code, stderr } = await doing;
        assert.equal(code, 0, stderr);
      }
      /** One reconciliation. The first failure ends it, as it does in the tool. */
      async function reconcile(wanted: readonly Raw[], gone: readonly Raw[] = []): Promise<void> {
        if (tool.rehearses) await passes(apply(wanted, "--dry-run=server"));
        if (tool.prunesFirst && gone.length > 0) await passes(prune(gone));
        await passes(apply(wanted));
        if (!tool.prunesFirst && gone.length > 0) await passes(prune(gone));
      }

      test("the whole folder arrives at the first attempt", async () => {
        await reconcile(await whole());
        assert.ok(await stored(all.plane, "virtualservice", "invoices", "billing"));
        const again = await apply(await whole());
        assert.equal(again.code, 0, again.stderr);
      });

      test("a canary ends: its subset and its route go in one commit", async () => {
        await reconcile(await objectsIn("01", "05"));
        const ended = [
          await objectNamed("VirtualService", "invoices", (raw) => {
            raw.spec.http[0].route = [{ destination: { host: "invoices", subset: "stable" }, weight: 100 }];
          }),
          await objectNamed("DestinationRule", "invoices", (raw) => raw.spec.subsets.pop()),
        ];
        await reconcile(ended);
        const rule = await stored(all.plane, "destinationrule", "invoices", "billing");
        assert.deepEqual(
          rule?.spec.subsets.map(({ name }: Raw) => name),
          ["stable"],
        );
      });

      test("routes and their DestinationRule go together with the canary", async () => {
        await reconcile(await objectsIn("01", "05"));
        const rule = await objectNamed("DestinationRule", "invoices");
        const plain = await objectNamed("VirtualService", "invoices", (raw) => {
          raw.spec.http[0].route = [{ destination: { host: "invoices" } }];
        });
        await reconcile([plain], [rule]);
        assert.equal(await stored(all.plane, "destinationrule", "invoices", "billing"), undefined);
      });

      test("what weakens is refused to it like to anybody", async () => {
        await reconcile(await objectsIn("01", "04"));
        const { code, stderr } = await prune([await objectNamed("AuthorizationPolicy", "nobody")]);
        assert.equal(code, 1, stderr);
        assert.match(stderr, /namespace-default-deny-removed/);
        assert.ok(await stored(all.plane, "authorizationpolicy", "nobody", "billing"));
      });
    });
});
