import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { after, before, describe, test } from "node:test";
import { setTimeout as later } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type ControlPlane, type Output, startControlPlane } from "./control-plane.ts";
import {
  binaries,
  isDenied,
  namespace,
  policies,
  type Raw,
  send,
  skip,
  stored,
  succeeds,
  virtualService,
} from "./environment.ts";
import { type Meshward, register, startMeshward, wayOut } from "./meshward.ts";
import { until } from "./program.ts";
import type { UserName } from "./users.ts";

// Policies and exceptions as objects of the real API server: their definitions, their effect, their review, their status.

const apiVersion = "meshward.io/v1alpha1";
const weights = "virtual-service-weights-not-100";
const policy = (name: string, spec: object): Raw => ({ apiVersion, kind: "MeshwardPolicy", metadata: { name }, spec });
const exception = (name: string, spec: object = {}, where = "shop"): Raw => ({
  ...{ apiVersion, kind: "MeshwardException", metadata: { name, namespace: where } },
  spec: {
    ...{ rules: [weights], reason: "a migration", owner: "team shop", expiresAt: "2099-01-01" },
    match: { objects: { names: ["wrong"] } },
    ...spec,
  },
});
const inSeconds = (seconds: number): string => `${new Date(Date.now() + seconds * 1_000).toISOString().slice(0, 19)}Z`;
const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

describe("policies of the cluster", { skip }, () => {
  let plane: ControlPlane;
  let meshward: Meshward;
  before(async () => {
    plane = await startControlPlane({ binaries: binaries(), definitions: true });
    await succeeds(plane, ["create", "-f", "-"], [namespace("shop"), namespace("billing")]);
  });
  after(async () => {
    await meshward?.stop();
    await plane?.close();
  });

  const apply = (objects: readonly Raw[], as: UserName = "admin"): Promise<Output> =>
    send(plane, ["apply", "-f", "-"], { as, objects });
  const wrong = (name = "wrong", where = "shop"): Raw => virtualService(where, name, [60, 60]);
  const tryWrong = (name?: string, where?: string): Promise<Output> =>
    send(plane, ["create", "--dry-run=server", "-f", "-"], { as: "tenant", objects: [wrong(name, where)] });
  /** Milliseconds until a wrong VirtualService is admitted, or denied. */
  async function untilWrong(isAdmitted: boolean): Promise<number> {
    const start = performance.now();
    await until(`a wrong VirtualService to be ${isAdmitted ? "admitted" : "denied"}`, async () =>
      ((await tryWrong()).code === 0) === isAdmitted ? true : undefined,
    );
    return Math.round(performance.now() - start);
  }
  async function conditionOf(kind: string, name: string, type: string, where?: string): Promise<Raw | undefined> {
    const object = await stored(plane, kind, name, where);
    return (object?.["status"]?.conditions as Raw[] | undefined)?.find((one) => one["type"] === type);
  }
  const untilCondition = (
    [kind, name, where]: readonly [string, string, string?],
    type: string,
    wanted: Raw,
  ): Promise<Raw> =>
    until(
      `${kind} ${name} to have ${JSON.stringify(wanted)}`,
      async () => {
        const found = await conditionOf(kind, name, type, where);
        const isSo = Object.entries(wanted).every(([field, value]) =>
          value instanceof RegExp ? value.test(String(found?.[field])) : found?.[field] === value,
        );
        if (!isSo) throw new Error(JSON.stringify(found));
        return found;
      },
      { timeoutMs: 60_000, everyMs: 500 },
    );

  test("the generated definitions are accepted, structural and established", async () => {
    for (const file of ["meshwardpolicies", "meshwardexceptions", "meshwardintents"]) {
      const { stderr } = await send(plane, ["apply", "--server-side", "-f", "-"], {
        input: read(`deploy/crds/${file}.yaml`),
      });
      assert.doesNotMatch(stderr, /Error|Warning|invalid/, stderr);
      await until(file, async () => {
        const found = await stored(plane, "crd", `${file}.meshward.io`);
        const conditions = (found?.["status"]?.conditions ?? []) as Raw[];
        const status = (type: string) => conditions.find((one) => one["type"] === type)?.["status"];
        return status("Established") === "True" && status("NonStructuralSchema") !== "True" ? true : undefined;
      });
    }
    const { code } = await until("to be listed", async () => {
      const output = await send(plane, ["get", "mwp,mwe", "-A"]);
      return output.code === 0 ? output : undefined;
    });
    assert.equal(code, 0);
    // What the schema can say, the API server says.
    // A moment after a definition is established, its schema is published.
    for (const [spec, said] of [
      [{ protectedNamespace: { names: ["a"] } }, /unknown field "spec\.protectedNamespace"/],
      [{ rules: [{ id: weights, mode: "dney" }] }, /spec\.rules\[0\]\.mode: Unsupported value: "dney"/],
    ] as const)
      await until(said.source, async () => {
        const args = ["apply", "--dry-run=server", "-f", "-"];
        const { stderr } = await send(plane, args, { objects: [policy("bad", spec)] });
        if (!said.test(stderr)) throw new Error(stderr);
        return true;
      });
  });

  test("documents that are there before Meshward take effect, and an invalid one is reported", async () => {
    await succeeds(
      plane,
      ["apply", "-f", "-"],
      [
        policy("broken", { rules: [{ id: "virtual-service-weight-not-100", mode: "warn" }] }),
        policy("platform", {
          exceptions: { maxDays: 36_00, writers: { groups: ["security"] } },
          breakGlass: { groups: ["security"] },
        }),
      ],
    );
    const args = ["--policies-from-cluster", "--namespace", "meshward-system"];
    meshward = await startMeshward({ plane, policies, args });
    await meshward.ready();
    await register(plane, meshward);
    const broken = await untilCondition(["mwp", "broken"], "Broken", { status: "True", reason: "Invalid" });
    assert.match(broken["message"], /there is no rule .* did you mean "virtual-service-weights-not-100"/);
    await untilCondition(["mwp", "broken"], "InForce", { status: "False", reason: "Invalid" });
    assert.match((await meshward.ops("/readyz?verbose"))?.body ?? "", /MeshwardPolicy broken: spec\.rules\[0\]\.id/);
    assert.match((await meshward.ops("/metrics"))?.body ?? "", /^meshward_policy_objects\{state="broken"\} 1$/m);
    assert.ok(meshward.log().some(({ msg }) => /a policy object of the cluster is invalid/.test(String(msg))));

    await succeeds(
      plane,
      ["apply", "-f", "-"],
      [policy("broken", { rules: [{ id: "virtual-service-canary-step", mode: "warn" }] })],
    );
    await untilCondition(["mwp", "broken"], "Broken", { status: "False", reason: "Valid" });
    await untilCondition(["mwp", "broken"], "InForce", { status: "True", observedGeneration: 2 });
    assert.doesNotMatch((await meshward.ops("/readyz?verbose"))?.body ?? "", /MeshwardPolicy broken/);
    assert.ok(meshward.log().some(({ msg }) => /the policy object is valid again/.test(String(msg))));
  });

  test("a policy takes effect, changes and ends within a second", async (t) => {
    isDenied(await tryWrong(), new RegExp(weights));
    const lax = policy("lax", { match: { namespaces: { names: ["shop"] } }, rules: [{ id: weights, mode: "warn" }] });
    const created = await apply([lax]);
    assert.match(created.stderr, /Warning: MeshwardPolicy lax: this protects less than before: .*mode may be warn/);
    const times = [await untilWrong(true)];
    await succeeds(
      plane,
      ["apply", "-f", "-"],
      [policy("lax", { match: { namespaces: { names: ["bank"] } }, rules: [{ id: weights, mode: "warn" }] })],
    );
    times.push(await untilWrong(false));
    await succeeds(plane, ["apply", "-f", "-"], [lax]);
    times.push(await untilWrong(true));
    await succeeds(plane, ["delete", "mwp", "lax"]);
    times.push(await untilWrong(false));
    t.diagnostic(`milliseconds until a change counted, with kubectl: ${times.join(", ")}`);
  });

  test("an invalid policy is denied with its path; the one in force stays", async () => {
    isDenied(
      await apply([policy("typo", { rules: [{ id: "virtual-service-weight-not-100" }] })]),
      /spec\.rules\[0\]\.id: .*did you mean/,
    );
    isDenied(await apply([policy("circle", { extends: ["circle"] })]), /a circle: circle extends circle/);
    assert.equal(await stored(plane, "mwp", "typo"), undefined);
  });

  test("an exception counts in its namespace, only from those who may write it, and only within the limits", async () => {
    isDenied(
      await apply([exception("mine")], "tenant"),
      /MeshwardPolicy platform does not let "tenant@example\.com" write/,
    );
    isDenied(await apply([exception("late", { expiresAt: "2020-01-01" })], "security"), /has ended already/);
    isDenied(await apply([exception("long", { expiresAt: "2099-01-01" })], "security"), /allows at most 3600/);
    const good = exception("good", { expiresAt: inSeconds(86_400) });
    await succeeds(plane, ["apply", "-f", "-"], [good], { as: "security" });
    await untilWrong(true);
    isDenied(await tryWrong("other"), new RegExp(weights));
    isDenied(await tryWrong("wrong", "billing"), new RegExp(weights));
    await succeeds(plane, ["create", "-f", "-"], [wrong()], { as: "tenant" });
    await untilCondition(["mwe", "good", "shop"], "InForce", { status: "True", message: /accepts 1 finding/ });
    assert.equal((await stored(plane, "mwe", "good", "shop"))?.["status"].findings, 1);
    const { stdout } = await send(plane, ["get", "mwe", "-n", "shop"]);
    assert.match(stdout, /NAME +IN FORCE +EXPIRES +FINDINGS +AGE\ngood +True +\S+ +1 /);
  });

  /** What a command finds about the wrong VirtualService, with the mesh and the policies of the cluster. */
  async function found(
    command: string,
    ...more: readonly string[]
  ): Promise<readonly [findings: number, accepted: number]> {
    const cli = fileURLToPath(new URL("../../dist/meshward.js", import.meta.url));
    const cluster = ["--mesh", "cluster", "--policies-from-cluster", "--kubeconfig", plane.kubeconfig("meshward")];
    const args = [cli, command, ...more, ...cluster, "--format", "json"];
    const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "ignore"] });
    child.stdin.end(command === "check" ? JSON.stringify(wrong()) : "");
    const report = JSON.parse(await text(child.stdout)) as { findings: Raw[]; accepted: Raw[] };
    const count = (list: readonly Raw[]) =>
      list.filter(({ rule, object }) => rule === weights && object.namespace === "shop").length;
    return [count(report.findings), count(report.accepted)];
  }

  test("an exception stops counting at its end, in the webhook, in audit and in check alike, and its status says so", async () => {
    assert.deepEqual(
      [await found("audit"), await found("check", "-")],
      [
        [0, 1],
        [0, 1],
      ],
    );
    const seconds = 15;
    const end = Date.now() + seconds * 1_000;
    await succeeds(plane, ["apply", "-f", "-"], [exception("good", { expiresAt: inSeconds(seconds) })], {
      as: "security",
    });
    await later(Math.max(0, end - Date.now() + 1_000));
    isDenied(await tryWrong(), new RegExp(weights));
    assert.deepEqual(
      [await found("audit"), await found("check", "-")],
      [
        [1, 0],
        [1, 0],
      ],
    );
    await untilCondition(["mwe", "good", "shop"], "InForce", { status: "False", reason: "Expired" });
    await untilCondition(["mwp", "platform"], "InForce", { status: "True" });
    assert.match((await meshward.ops("/metrics"))?.body ?? "", /exceptions\{state="expired"\} 1/);
    await succeeds(plane, ["delete", "mwe", "good", "-n", "shop"]);
  });

  test("break glass is used, seen, and gone with the policy that allows it", async () => {
    const glass = wrong("glass");
    glass["metadata"].annotations = { "meshward.io/break-glass": "incident 7" };
    const tryGlass = () => send(plane, ["create", "--dry-run=server", "-f", "-"], { as: "tenant", objects: [glass] });
    isDenied(await tryGlass(), new RegExp(weights));
    const { stderr: warned } = await apply([policy("on-call", { breakGlass: { groups: ["tenants"] } })]);
    assert.match(warned, /Warning: MeshwardPolicy on-call: this protects less than before: tenants may break glass/);
    await until("break glass", async () => ((await tryGlass()).code === 0 ? true : undefined));
    const { stderr } = await succeeds(plane, ["apply", "-f", "-"], [glass], { as: "tenant" });
    assert.match(stderr, /uses break glass \("incident 7"\)/);
    await until("the metric", async () =>
      /^meshward_break_glass_total\{kind="VirtualService"\} 1$/m.test((await meshward.ops("/metrics"))?.body ?? "")
        ? true
        : undefined,
    );
    await until("the Event", async () => {
      const { stdout } = await send(plane, ["get", "events", "-n", "shop", "-o", "json"]);
      return /break glass/i.test(stdout) ? true : undefined;
    });
    await succeeds(plane, ["delete", "virtualservice", "glass", "-n", "shop"], undefined, { as: "tenant" });
    await succeeds(plane, ["delete", "mwp", "on-call"]);
    await until("break glass to be gone", async () => ((await tryGlass()).code === 0 ? undefined : true));
    isDenied(await tryGlass(), new RegExp(weights));
  });

  test("a rule of a policy denies, warns, accepts, is broken and is mended", async () => {
    const own = (mode: string, expression = "object.spec.http.all(r, has(r.timeout))"): Raw =>
      policy("ours", {
        match: { namespaces: { names: ["billing"] } },
        customRules: [
          { id: "timeouts", kinds: ["VirtualService"], mode, expression, message: "Every route needs a timeout" },
        ],
      });
    const route = (timeout?: string): Raw => {
      const object = virtualService("billing", "routed", [100]);
      for (const one of object["spec"].http) if (timeout !== undefined) one.timeout = timeout;
      return object;
    };
    const create = (object: Raw) =>
      send(plane, ["create", "--dry-run=server", "-f", "-"], { as: "tenant", objects: [object] });
    const untilSaid = (what: string, wanted: (output: Output) => boolean) =>
      until(what, async () => {
        const output = await create(route());
        return wanted(output) ? output : undefined;
      });
    assert.equal((await create(route())).code, 0);

    await succeeds(plane, ["apply", "-f", "-"], [own("deny")]);
    isDenied(await untilSaid("a denial", ({ code }) => code !== 0), /\[ours\/timeouts\].*Every route needs a timeout/s);
    assert.equal((await create(route("5s"))).code, 0);
    assert.equal((await create({ ...route(), metadata: { name: "routed", namespace: "shop" } })).code, 0);
    await untilCondition(["mwp", "ours"], "InForce", { status: "True" });

    await succeeds(plane, ["apply", "-f", "-"], [own("warn")]);
    const warned = await untilSaid("a warning", ({ code }) => code === 0);
    assert.match(warned.stderr, /Warning: .*ours\/timeouts/);

    await succeeds(plane, ["apply", "-f", "-"], [own("deny")]);
    await untilSaid("a denial again", ({ code }) => code !== 0);
    const accepted = exception(
      "slow",
      { rules: ["ours/timeouts"], match: { objects: { names: ["routed"] } }, expiresAt: inSeconds(86_400) },
      "billing",
    );
    await succeeds(plane, ["apply", "-f", "-"], [accepted], { as: "security" });
    await untilSaid("the exception", ({ code }) => code === 0);
    await succeeds(plane, ["delete", "mwe", "slow", "-n", "billing"]);
    await untilSaid("a denial without the exception", ({ code }) => code !== 0);

    // Meshward refuses a wrong expression when it is asked.
    const wrongField = "object.spec.http.all(r, has(r.timeoutt))";
    isDenied(
      await apply([own("deny", wrongField)]),
      /spec\.customRules\[0\]\.expression: .*timeoutt.*did you mean "timeout".*line 1, column \d+/,
    );
    await succeeds(plane, wayOut);
    await until("the API server to ask no more", async () => {
      const { code, stderr } = await apply([own("deny", wrongField)]);
      if (code !== 0) throw new Error(stderr);
      return true;
    });
    await register(plane, meshward);
    const broken = await untilCondition(["mwp", "ours"], "Broken", { status: "True", reason: "Invalid" });
    assert.match(broken["message"], /timeoutt/);
    await untilCondition(["mwp", "ours"], "InForce", { status: "True", reason: "LastValidGeneration" });
    isDenied(await create(route()), /ours\/timeouts/);
    assert.equal((await create(route("5s"))).code, 0);

    await succeeds(plane, ["apply", "-f", "-"], [own("warn")]);
    await untilCondition(["mwp", "ours"], "Broken", { status: "False", reason: "Valid" });
    assert.match((await untilSaid("the mended rule", ({ code }) => code === 0)).stderr, /ours\/timeouts/);

    // An expression that fails for an object decides nothing about it, which is denied unless onError says otherwise.
    await succeeds(
      plane,
      ["apply", "-f", "-"],
      [own("deny", "object.spec.http.all(r, duration(r.timeout) < duration('9s'))")],
    );
    isDenied(await untilSaid("a failure", ({ code }) => code !== 0), /ours\/timeouts.*expression of this rule failed/s);
    await succeeds(plane, ["delete", "mwp", "ours"]);
    await untilSaid("no rule", ({ code, stderr }) => code === 0 && !stderr.includes("ours/"));
  });

  test("while a policy is edited again and again, every review is decided by a whole set", async (t) => {
    const edit = (message: string) =>
      apply([
        policy("edited", {
          match: { namespaces: { names: ["shop"] } },
          rules: [{ id: weights, mode: "deny", message }],
        }),
      ]);
    await edit("edition 0");
    await until("the first edition", async () =>
      (await tryWrong()).stderr.includes("Note: edition 0") ? true : undefined,
    );
    const editing = { isOver: false };
    const edits = (async () => {
      for (let i = 1; i <= 12; i++) assert.equal((await edit(`edition ${i}`)).code, 0);
      editing.isOver = true;
    })();
    let reviews = 0;
    const seen = new Set<string>();
    const load = Array.from({ length: 3 }, async () => {
      while (!editing.isOver) {
        const output = await tryWrong();
        isDenied(output, new RegExp(weights));
        const [, edition] = /Note: edition (\d+)/.exec(output.stderr) ?? [];
        assert.ok(edition !== undefined, output.stderr);
        seen.add(edition);
        reviews++;
      }
    });
    await Promise.all([edits, ...load]);
    t.diagnostic(`${reviews} reviews during 12 edits, decided by ${seen.size} editions`);
    assert.ok(seen.size > 1);
  });
});
