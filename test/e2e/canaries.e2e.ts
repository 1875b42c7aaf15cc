import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import {
  type Environment,
  environment,
  namespace,
  type Raw,
  seen,
  send,
  skip,
  stored,
  succeeds,
  warningsOf,
} from "./environment.ts";
import type { UserName } from "./users.ts";
import { canary, deployment, service, subsets } from "./workloads.ts";

// Canaries as the tools that run them write them: whole objects by update, weights in steps, under their own identity.

const here = "canaries";

describe("canaries that tools run", { skip }, () => {
  let all: Environment;
  before(async () => {
    all = await environment();
    await succeeds(all.plane, ["apply", "-f", "-"], [namespace(here, { "meshward.io/protected": "true" })]);
  });

  const writer = (as: UserName, manager: string) => {
    const write = async (verb: string, raw: Raw): Promise<readonly string[]> => {
      const args = [verb, `--field-manager=${manager}`, "-f", "-"];
      const { code, stderr } = await send(all.plane, args, { objects: [raw], as });
      assert.equal(code, 0, stderr);
      return warningsOf(stderr);
    };
    return {
      create: (raw: Raw) => write("create", raw),
      /** Reads the object, changes it, and writes it as a whole, as a controller does. */
      async update(kind: string, name: string, change: (raw: Raw) => void): Promise<readonly string[]> {
        const raw = await stored(all.plane, kind, name, here);
        assert.ok(raw, `${kind} ${name} is not there`);
        change(raw);
        return write("replace", raw);
      },
    };
  };

  describe("Argo Rollouts", () => {
    const { update } = writer("argoRollouts", "rollouts-controller");
    const start = async (name: string) => {
      const objects = [
        deployment(here, name),
        service(here, name),
        subsets(here, name, "stable", "canary"),
        canary(here, name, { stable: 100, canary: 0 }),
      ];
      await succeeds(all.plane, ["apply", "-f", "-"], objects);
      await seen(all);
    };
    const hash = (name: string, labels: readonly string[]) =>
      update("destinationrule", name, (raw) => {
        raw.metadata.annotations = { "argo-rollouts.argoproj.io/managed-by-rollouts": name };
        for (const [i, subset] of raw.spec.subsets.entries())
          subset.labels = { "rollouts-pod-template-hash": labels[i] };
      });
    const weigh = (name: string, ...weights: readonly number[]) =>
      update("virtualservice", name, (raw) => {
        const { route } = raw.spec.http.at(-1);
        for (const [i, weight] of weights.entries()) route[i].weight = weight;
      });
    /** Managed routes stand before all others. */
    const addHeaderRoute = (name: string) =>
      update("virtualservice", name, (raw) => {
        raw.spec.http.unshift({
          name: "set-header",
          match: [{ headers: { "x-canary": { exact: "true" } } }],
          route: [{ destination: { host: name, subset: "canary" }, weight: 100 }],
        });
      });
    const addMirrorRoute = (name: string) =>
      update("virtualservice", name, (raw) => {
        raw.spec.http.unshift({
          name: "mirror",
          match: [{ method: { exact: "GET" } }],
          route: raw.spec.http.at(-1).route,
          mirror: { host: name, subset: "canary" },
          mirrorPercentage: { value: 35 },
        });
      });
    const removeManagedRoutes = (name: string) =>
      update("virtualservice", name, (raw) => {
        raw.spec.http = raw.spec.http.slice(-1);
      });

    test("a rollout to the end, with header and mirror routes", async () => {
      const name = "promoted";
      await start(name);
      await hash(name, ["a1", "b2"]);
      await addHeaderRoute(name);
      await addMirrorRoute(name);
      for (const weight of [5, 20, 50, 100]) await weigh(name, 100 - weight, weight);
      await hash(name, ["b2", "b2"]);
      await weigh(name, 100, 0);
      await removeManagedRoutes(name);
      const { spec } = (await stored(all.plane, "virtualservice", name, here)) as Raw;
      assert.deepEqual(
        spec.http.map(({ route }: Raw) => route.map(({ weight }: Raw) => weight)),
        [[100, 0]],
      );
    });

    test("an abort in the middle, and back to stable at once", async () => {
      const name = "aborted";
      await start(name);
      await hash(name, ["a1", "b2"]);
      await addHeaderRoute(name);
      await weigh(name, 40, 60);
      await removeManagedRoutes(name);
      await weigh(name, 100, 0);
      await hash(name, ["a1", "a1"]);
    });

    test("a sum that is wrong in between is said, and stops nothing", async () => {
      const name = "unbalanced";
      await start(name);
      const warnings = await weigh(name, 90, 20);
      assert.match(warnings.join("\n"), /virtual-service-weights-not-100/);
      await weigh(name, 100, 0);
    });

    test("subsets that it drops itself are said, and stop nothing", async () => {
      const name = "dropped";
      await start(name);
      await weigh(name, 90, 10);
      await seen(all);
      const warnings = await update("destinationrule", name, (raw) => {
        raw.spec.subsets = raw.spec.subsets.slice(0, 1);
      });
      assert.match(warnings.join("\n"), /virtual-service-subset-not-found.*"canary"/);
    });
  });

  describe("Flagger", () => {
    const { create, update } = writer("flagger", "flagger");
    const destination = (host: string): Raw => ({
      apiVersion: "networking.istio.io/v1beta1",
      kind: "DestinationRule",
      metadata: { name: host, namespace: here },
      spec: { host },
    });
    const routes = (name: string, primary: number, match?: Raw): Raw => ({
      ...(match ? { match: [match] } : {}),
      route: [
        { destination: { host: `${name}-primary` }, weight: primary },
        { destination: { host: `${name}-canary` }, weight: 100 - primary },
      ],
    });
    const start = async (name: string) => {
      for (const role of ["", "-canary", "-primary"]) await create(service(here, `${name}${role}`));
      await create(deployment(here, `${name}-primary`));
      await create(destination(`${name}-canary`));
      await create(destination(`${name}-primary`));
      const apex = { apiVersion: "networking.istio.io/v1beta1", kind: "VirtualService" };
      await create({
        ...apex,
        metadata: { name, namespace: here },
        spec: { hosts: [name], http: [routes(name, 100)] },
      });
    };
    /** It replaces all routes at every step. */
    const replaceRoutes = (name: string, ...http: readonly Raw[]) =>
      update("virtualservice", name, (raw) => {
        raw.spec.http = http;
      });

    test("a canary to the end, and a rollback from the middle of the next", async () => {
      const name = "shop";
      await start(name);
      for (const primary of [95, 75, 50, 0, 100, 90, 70, 100]) await replaceRoutes(name, routes(name, primary));
    });

    test("an A/B test: a second route with a single destination of weight 0", async () => {
      const name = "tested";
      await start(name);
      const insiders = routes(name, 0, { headers: { "x-insider": { exact: "true" } } });
      const rest = { route: [{ destination: { host: `${name}-primary` }, weight: 100 }] };
      await replaceRoutes(name, insiders, rest);
      await replaceRoutes(name, insiders, { route: [{ destination: { host: `${name}-primary` }, weight: 0 }] });
      await replaceRoutes(name, routes(name, 100));
    });

    test("mirrored traffic, and what was there before, restored", async () => {
      const name = "mirrored";
      await start(name);
      const mirror = { mirror: { host: `${name}-canary` }, mirrorPercentage: { value: 100 } };
      await replaceRoutes(name, { ...routes(name, 100), ...mirror });
      await replaceRoutes(name, { route: [{ destination: { host: name } }] });
    });
  });
});
