import assert from "node:assert/strict";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { setTimeout as later } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { webhookConfigurations } from "../../src/deploy/webhooks.ts";
import { rules } from "../../src/rules/index.ts";
import { type Answer, type ControlPlane, startControlPlane } from "./control-plane.ts";
import { binaries, namespace, policies, type Raw, skip, succeeds, virtualService } from "./environment.ts";
import { type Meshward, register, startMeshward } from "./meshward.ts";
import { until } from "./program.ts";
import { ServiceAddress } from "./service-address.ts";

// What a server has to endure, seen from a real API server: both families of addresses, a process that stood still, little
// memory, a long time, other clocks, and another version beside it. The cases have the numbers of docs/reliability.md.

const own = "meshward-system";
/** Protected by the policies. */
const here = "billing";
const built = fileURLToPath(new URL("../../dist/meshward.js", import.meta.url));
/** MESHWARD_SOAK_SECONDS lets the case R20 last longer. */
const soakMs = Number(process.env["MESHWARD_SOAK_SECONDS"] ?? 5) * 1_000;

describe("endurance", { skip }, () => {
  let plane: ControlPlane;
  before(async () => {
    plane = await startControlPlane({ binaries: binaries(), definitions: true });
    for (const kind of ["policies", "exceptions", "intents"]) {
      const file = fileURLToPath(new URL(`../../deploy/crds/meshward${kind}.yaml`, import.meta.url));
      await succeeds(plane, ["apply", "--server-side", "-f", file]);
    }
    await succeeds(plane, ["apply", "-f", "-"], [namespace(own), namespace(here)]);
    await succeeds(plane, ["apply", "-f", "-"], [virtualService(here, "shop", [50, 50])]);
  });
  after(() => plane?.close());

  const shop = `/apis/networking.istio.io/v1/namespaces/${here}/virtualservices/shop`;
  /** Changes the weights of a route, and a header that it sets; nothing is stored. */
  const sent = (weights: readonly number[], note = ""): Promise<Answer> => {
    const { spec } = virtualService(here, "shop", weights);
    spec.http[0].headers = { request: { set: { note } } };
    return plane.patch(`${shop}?dryRun=All`, { spec }, "tenant");
  };
  const isRight = (sum: number, { status, body }: Answer): boolean =>
    sum === 100 ? status === 200 : status === 403 && body.includes("virtual-service-weights-not-100");
  /** A change that is right and one that is wrong. */
  async function judges(): Promise<void> {
    for (const sum of [100, 110]) {
      const answer = await sent([50, sum - 50]);
      assert.ok(isRight(sum, answer), `${sum}: ${answer.status} ${answer.body.slice(0, 300)}`);
    }
  }
  const metric = async ({ ops }: Meshward, name: string): Promise<number> =>
    Number(new RegExp(`^${name} (\\S+)$`, "m").exec((await ops("/metrics"))?.body ?? "")?.[1]);

  describe("one replica with little memory", () => {
    let meshward: Meshward;
    before(async () => {
      const env = { NODE_OPTIONS: "--max-old-space-size=96" };
      meshward = await startMeshward({ plane, policies, env, host: "::" });
      await meshward.ready();
    });
    after(() => meshward?.stop());

    // R23
    for (const host of ["127.0.0.1", "[::1]"])
      test(`the API server reaches it at ${host}`, async () => {
        await register(plane, { ...meshward, url: `https://${host}:${meshward.port}` });
        await judges();
      });

    // R11 (suspended), R19
    test("a process that stood still: refused meanwhile, right at once afterwards, ready all the time, and measured", async () => {
      meshward.program.signal("SIGSTOP");
      const unheard = await sent([50, 50]);
      assert.match(unheard.body, /failed calling webhook/);
      meshward.program.signal("SIGCONT");
      await until("it to answer", async () => (isRight(100, await sent([50, 50])) ? true : undefined));
      await judges();
      assert.equal((await meshward.ops("/readyz"))?.status, 200);
      assert.equal(meshward.program.ended(), undefined);
      const lag = await metric(meshward, "nodejs_eventloop_lag_max_seconds");
      assert.ok(lag > 0.2, `the event loop stood still, and the metric says ${lag} s`);
    });

    // R12
    test("very many objects of a megabyte at once: none that is wrong is admitted, and the server lives", async (t) => {
      const filler = "x".repeat(1_000_000);
      const answers = await Promise.all(Array.from({ length: 16 }, (_, i) => sent([50, 60 + i], filler)));
      const counts = Map.groupBy(answers, ({ status }) => status);
      t.diagnostic([...counts].map(([status, { length }]) => `${status}: ${length}`).join(", "));
      assert.deepEqual(answers.filter(({ status }) => status < 300).length, 0);
      assert.ok((counts.get(403)?.length ?? 0) > 0);
      await judges();
      assert.equal(meshward.program.ended(), undefined);
    });

    // R20
    test("for a time, reviews without a pause: each is right, and the heap does not grow", async (t) => {
      const least: number[] = [];
      let reviews = 0;
      const parts = 4;
      for (let part = 0; part < parts; part++) {
        let lowest = Number.POSITIVE_INFINITY;
        const end = performance.now() + soakMs / parts;
        const client = async (which: number) => {
          for (let i = which; performance.now() < end; i++, reviews++) {
            const sum = i % 2 === 0 ? 100 : 110;
            const answer = await sent([50, sum - 50], `${part}-${i}`);
            assert.ok(isRight(sum, answer), `${answer.status} ${answer.body.slice(0, 300)}`);
          }
        };
        const watch = async () => {
          for (; performance.now() < end; await later(100))
            lowest = Math.min(lowest, await metric(meshward, "nodejs_heap_size_used_bytes"));
        };
        await Promise.all([client(0), client(1), client(2), client(3), watch()]);
        least.push(lowest / (1 << 20));
      }
      t.diagnostic(`${reviews} reviews; least heap in MiB: ${least.map((one) => one.toFixed(1)).join(", ")}`);
      assert.ok(least.every((one) => one > 0) && reviews > 100);
      assert.ok((least.at(-1) ?? 0) < (least[0] ?? 0) * 1.25 + 4, "the heap grows");
    });
  });

  describe("two replicas of two versions, whose clocks are four hours apart", () => {
    const replicas: Meshward[] = [];
    let address: ServiceAddress;
    const hour = 3_600_000;
    const clock = (name: string) => join(plane.folder, `${name}.clock`);
    const setClock = (name: string, hours: number) => {
      writeFileSync(`${clock(name)}.next`, String(hours * hour));
      renameSync(`${clock(name)}.next`, clock(name));
    };
    before(async () => {
      const earlier = join(plane.folder, "earlier.mjs");
      writeFileSync(earlier, readFileSync(built, "utf8").replaceAll('"0.1.0"', '"0.0.9"'));
      const shifted = join(plane.folder, "clock.mjs");
      writeFileSync(shifted, shiftedClock);
      for (const [name, hours, file] of [
        ["earlier", -2, earlier],
        ["later", 2, built],
      ] as const) {
        setClock(name, hours);
        const env = { NODE_OPTIONS: `--import ${pathToFileURL(shifted).href}`, CLOCK: clock(name) };
        const certificates = ["--namespace", own, "--tls-secret", "meshward-tls", "--service", "meshward"];
        const args = ["--policies-from-cluster", "--rotation-wait", "6"];
        replicas.push(await startMeshward({ plane, policies, name, file, env, certificates, args }));
      }
      for (const replica of replicas) await replica.ready();
      address = await ServiceAddress.open(replicas);
      await until("endpoints", () => (address.endpoints.length === 2 ? true : undefined));
      const service = {
        ...{ apiVersion: "v1", kind: "Service", metadata: { name: "meshward", namespace: own } },
        spec: { type: "ExternalName", externalName: "localhost", ports: [{ port: address.port }] },
      };
      const called = { name: "meshward", namespace: own, port: address.port };
      const configurations = webhookConfigurations(rules, { service: called, failurePolicy: "Fail", namespace: own });
      const args = ["apply", "--server-side", "--force-conflicts", "--field-manager=installer", "-f", "-"];
      await succeeds(plane, args, [service, ...configurations.map(withoutAuthority)]);
    });
    after(async () => {
      for (const replica of replicas) await replica.stop();
      await address?.close();
    });

    // R11 (clocks)
    test("the API server accepts the certificates of both, also after a jump of each clock", async () => {
      await until("both to be asked", async () => (isRight(110, await sent([50, 60])) ? true : undefined));
      const judgedBy = (replica: Meshward) => replica.log().filter(({ path }) => path === "/validate").length;
      for (const jumped of [false, true]) {
        if (jumped) {
          setClock("earlier", 2);
          setClock("later", -2);
          await later(500);
        }
        const asked = replicas.map(judgedBy);
        // Each kept connection leads to one replica: new ones are made until both were asked.
        await until("each replica to be asked", async () => {
          await Promise.all(Array.from({ length: 8 }, judges));
          return replicas.every((replica, i) => judgedBy(replica) > (asked[i] ?? 0)) ? true : undefined;
        });
      }
      for (const replica of replicas) assert.equal(replica.program.ended(), undefined);
    });

    // R18
    test("beside each other they write the status of a policy once, and caBundle not at all", async () => {
      const policy = {
        ...{ apiVersion: "meshward.io/v1alpha1", kind: "MeshwardPolicy", metadata: { name: "side-by-side" } },
        spec: { rules: [{ id: "virtual-service-weights-not-100", mode: "deny" }] },
      };
      await succeeds(plane, ["create", "-f", "-"], [policy]);
      const paths = [
        "/apis/meshward.io/v1alpha1/meshwardpolicies/side-by-side",
        ...["validating", "mutating"].map(
          (kind) => `/apis/admissionregistration.k8s.io/v1/${kind}webhookconfigurations/meshward`,
        ),
        `/api/v1/namespaces/${own}/secrets/meshward-tls`,
      ];
      const read = () => Promise.all(paths.map(async (path) => JSON.parse((await plane.get(path)).body) as Raw));
      await until("the status", async () => ((await read())[0]?.["status"] === undefined ? undefined : true));
      const versions = async () => (await read()).map(({ metadata }) => metadata.resourceVersion as string);
      const before = await versions();
      assert.ok(before.every((version) => version !== undefined));
      await later(3_000);
      assert.deepEqual(await versions(), before);
      await judges();
    });
  });
});

const withoutAuthority = (configuration: object): object =>
  JSON.parse(
    JSON.stringify(configuration, (key, value: unknown) => (key === "caBundle" ? undefined : value)),
  ) as object;

/** A module that sets the clock of a process apart by the milliseconds in a file, which it reads again and again. */
const shiftedClock = `
import { readFileSync } from "node:fs";
let apart = 0;
const read = () => { apart = Number(readFileSync(process.env.CLOCK, "utf8")); };
read();
setInterval(read, 100).unref();
const Real = Date;
globalThis.Date = class extends Real {
  constructor(...given) { if (given.length === 0) super(Real.now() + apart); else super(...given); }
  static now() { return Real.now() + apart; }
};
`;
