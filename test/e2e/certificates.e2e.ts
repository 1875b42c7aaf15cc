import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, describe, test, type TestContext } from "node:test";
import { setTimeout as later } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { fileURLToPath } from "node:url";
import { webhookConfigurations } from "../../src/deploy/webhooks.ts";
import { rules } from "../../src/rules/index.ts";
import { type ControlPlane, startControlPlane } from "./control-plane.ts";
import { meshward as inThisProcess } from "../cli/terminal.ts";
import { binaries, namespace, policies, skip, stored, succeeds, virtualService } from "./environment.ts";
import { type Meshward, startMeshward } from "./meshward.ts";
import { until } from "./program.ts";
import { ServiceAddress } from "./service-address.ts";

// Two replicas behind one Service, with exactly the permissions of the manifests. Reviews run in a loop through the API
// server, and handshakes with caBundle of the moment, while the authority is rotated, lost and handed over.

const own = "meshward-system";
/** Protected by the policies, so that a mistake is denied. */
const here = "billing";
const built = fileURLToPath(new URL("../../dist/meshward.js", import.meta.url));
const host = `meshward.${own}.svc`;
const rotationWait = 6;

describe("certificates", { skip }, () => {
  let plane: ControlPlane;
  let address: ServiceAddress;
  const replicas: Meshward[] = [];
  before(async () => {
    plane = await startControlPlane({ binaries: binaries(), definitions: true });
    await succeeds(plane, ["apply", "-f", "-"], [namespace(own), namespace(here)]);
    const certificates = [
      ...["--namespace", own, "--tls-secret", "meshward-tls", "--service", "meshward"],
      ...["--rotation-wait", String(rotationWait)],
    ];
    const options = { plane, policies, certificates, drainSeconds: 4 };
    for (const name of ["one", "two"]) replicas.push(await startMeshward({ ...options, name }));
    for (const replica of replicas) await replica.ready();
    address = await ServiceAddress.open(replicas);
    await until("endpoints", () => (address.endpoints.length === 2 ? true : undefined));
    const service = {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "meshward", namespace: own },
      spec: { type: "ExternalName", externalName: "localhost", ports: [{ port: address.port }] },
    };
    const configurations = webhookConfigurations(rules, {
      service: { name: "meshward", namespace: own, port: address.port },
      failurePolicy: "Fail",
      namespace: own,
    });
    await succeeds(
      plane,
      ["apply", "--server-side", "--field-manager=installer", "-f", "-"],
      [service, ...configurations],
    );
  });
  after(async () => {
    for (const replica of replicas) await replica.stop();
    await address?.close();
    await plane?.close();
  });

  const bundles = async (): Promise<readonly string[]> => {
    const found = await Promise.all(
      ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"].map((plural) =>
        plane.get(`/apis/admissionregistration.k8s.io/v1/${plural}/meshward`),
      ),
    );
    const webhooks = found.flatMap(
      ({ body }) => (JSON.parse(body) as { webhooks: { clientConfig: { caBundle?: string } }[] }).webhooks,
    );
    return webhooks.map(({ clientConfig }) => Buffer.from(clientConfig.caBundle ?? "", "base64").toString());
  };
  const shown = async () =>
    JSON.parse((await meshward("certs", "show", "--output", "json")).stdout) as {
      phase: string;
      leader?: string;
      authorities: { role: string; fingerprint: string }[];
      problems: string[];
    };
  const meshward = (...args: readonly string[]) =>
    new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
      const all = [built, ...args, "--kubeconfig", plane.kubeconfig("admin")];
      execFile(process.execPath, all, { timeout: 30_000 }, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), stdout, stderr });
      });
    });
  const leaders = async () => {
    const states = await Promise.all(replicas.map((one) => one.ops("/metrics")));
    return replicas.filter((_, index) => /^meshward_leader 1$/m.test(states[index]?.body ?? ""));
  };
  /** A phase lasts for seconds, so it is asked for in this process: a process of its own may need as long to start. */
  const phaseIs = (phase: string) =>
    until(
      `the phase ${phase}`,
      async () => {
        const args = ["certs", "show", "--output", "json", "--kubeconfig", plane.kubeconfig("admin")];
        const { out, error } = await inThisProcess(args);
        if (JSON.parse(out || "{}").phase === phase) return true;
        throw new Error(`${out}${error}`);
      },
      { everyMs: 300 },
    );

  /** A handshake with every replica that gets connections, verified with caBundle of the moment. */
  async function handshakes(failures: string[]): Promise<number> {
    const authorities = [...new Set(await bundles())];
    const pairs = address.endpoints.flatMap(({ port }) => authorities.map((ca) => ({ port, ca })));
    await Promise.all(pairs.map(({ port, ca }) => handshake(port, ca, failures)));
    return pairs.length;
  }
  const handshake = (port: number, ca: string, failures: string[]) =>
    new Promise<void>((resolve) => {
      const socket = connectTls({ host: "127.0.0.1", port, ca, servername: host }, () => {
        socket.destroy();
        resolve();
      });
      socket.once("error", (error) => {
        failures.push(`handshake with ${port}: ${error.message}`);
        resolve();
      });
    });

  /** Reviews, one that passes and one that is denied in turn, and handshakes, while `task` runs. */
  async function underLoad(t: TestContext, task: () => Promise<void>): Promise<void> {
    const failures: string[] = [];
    const done = new AbortController();
    let [reviews, count] = [0, 0];
    const group = (name: string) => `/apis/${name}.istio.io/v1/namespaces/${here}`;
    const good = (i: number) => virtualService(here, "loop", [i % 100, 100 - (i % 100)]);
    const bad = { spec: { mtls: { mode: "PERMISSIVE" } } };
    const review = async (index: number) => {
      for (let i = index; !done.signal.aborted; i++) {
        const isBad = i % 2 === 1;
        const asked = isBad
          ? plane.patch(`${group("security")}/peerauthentications/default`, bad, "tenant")
          : plane.patch(`${group("networking")}/virtualservices/loop`, good(i), "tenant");
        const answer = await asked.catch((error: unknown) => ({ status: 0, body: String(error) }));
        reviews++;
        const isRight = isBad
          ? answer.status === 403 && / denied the request: /.test(answer.body)
          : answer.status === 200;
        if (!isRight) failures.push(`${answer.status}: ${answer.body.slice(0, 400)}`);
      }
    };
    const shake = async () => {
      while (!done.signal.aborted) {
        count += await handshakes(failures);
        await later(50);
      }
    };
    const load = [review(0), review(1), review(2), shake()];
    try {
      await task();
    } finally {
      done.abort();
      await Promise.all(load);
    }
    t.diagnostic(`${reviews} reviews and ${count} handshakes, failed: ${failures.length}`);
    assert.deepEqual(failures.slice(0, 3), []);
    assert.ok(reviews > 20, `only ${reviews} reviews`);
  }

  test("the replicas make an authority and give it to the API server, which then asks them", async (t) => {
    const start = performance.now();
    await until("the self-test to pass", async () => {
      const pages = await Promise.all(replicas.map((one) => one.ops("/readyz?verbose")));
      const texts = pages.map((page) => page?.body ?? "");
      if (texts.every((text) => text.includes("[+]self-test ok: passed"))) return true;
      throw new Error(texts.join("\n"));
    });
    t.diagnostic(`passed ${Math.round(performance.now() - start)} ms after the webhooks were registered`);
    await succeeds(
      plane,
      ["apply", "-f", "-"],
      [
        virtualService(here, "loop", [50, 50]),
        {
          apiVersion: "security.istio.io/v1",
          kind: "PeerAuthentication",
          metadata: { name: "default", namespace: here },
          spec: { mtls: { mode: "STRICT" } },
        },
      ],
    );
    const { phase, problems, authorities } = await shown();
    assert.deepEqual([phase, problems, authorities.length], ["steady", [], 1]);
    assert.equal((await leaders()).length, 1);
    const answer = await meshward("certs", "show");
    assert.match(answer.stdout, /^Phase +steady.*$/m);
    assert.doesNotMatch(answer.stdout, /PRIVATE/);
    assert.equal(await stored(plane, "lease", "meshward-self-test", own), undefined);
  });

  test("rotated while reviews run: no review fails", async (t) => {
    const [before] = (await shown()).authorities;
    await underLoad(t, async () => {
      const { code, stdout, stderr } = await meshward("certs", "rotate", "--distrust-previous");
      assert.equal(code, 0, stderr);
      assert.match(stdout, /A rotation was asked for/);
      await phaseIs("publishing");
      await phaseIs("retiring");
      await later(2_000);
      await phaseIs("steady");
      await later(2_000);
    });
    const { authorities, problems } = await shown();
    assert.deepEqual(problems, []);
    assert.equal(authorities.length, 1);
    assert.notEqual(authorities[0]?.fingerprint, before?.fingerprint);
  });

  for (const [what, spoil] of [
    ["deleted", ["delete", "secret", "meshward-tls"]],
    ["emptied", ["patch", "secret", "meshward-tls", "--type=json", '-p=[{"op":"remove","path":"/data"}]']],
    ["filled with garbage", ["patch", "secret", "meshward-tls", "-p", '{"data":{"issuer.key":"Z2FyYmFnZQ=="}}']],
  ] as const)
    test(`the Secret is ${what} while reviews run: restored, and no review fails`, async (t) => {
      const before = (await shown()).authorities;
      await underLoad(t, async () => {
        await succeeds(plane, [...spoil, "--namespace", own]);
        const start = performance.now();
        await until("the Secret to be restored", async () => {
          const { code, stdout } = await meshward("certs", "show", "--output", "json");
          return code === 0 && JSON.stringify(JSON.parse(stdout).authorities) === JSON.stringify(before)
            ? true
            : undefined;
        });
        t.diagnostic(`restored and seen after ${Math.round(performance.now() - start)} ms`);
        await later(1_000);
      });
    });

  test("caBundle is emptied by somebody: written again within a second", async (t) => {
    const path = "/webhooks/0/clientConfig/caBundle";
    await succeeds(plane, [
      ...["patch", "validatingwebhookconfiguration", "meshward", "--type=json"],
      `-p=[{"op":"remove","path":"${path}"}]`,
    ]);
    const start = performance.now();
    await until("caBundle", async () => ((await bundles()).every((one) => one !== "") ? true : undefined), {
      everyMs: 20,
    });
    const tookMs = performance.now() - start;
    t.diagnostic(`written again at most ${Math.round(tookMs)} ms after kubectl had ended`);
    assert.ok(tookMs < 3_000, `${tookMs} ms`);
    await later(1_000); // The API server notices a moment later.
    await until("the API server to trust it again", async () => {
      const { code, stderr } = await plane.kubectl([
        "annotate",
        "virtualservice",
        "loop",
        "seen=again",
        "-n",
        here,
        "--overwrite",
      ]);
      if (code !== 0) throw new Error(stderr);
      return true;
    });
    await underLoad(t, () => later(2_000));
  });

  test("an installer that applies its manifests again takes nothing away", async (t) => {
    await underLoad(t, async () => {
      const configurations = webhookConfigurations(rules, {
        service: { name: "meshward", namespace: own, port: address.port },
        failurePolicy: "Fail",
        namespace: own,
      });
      await succeeds(plane, ["apply", "--server-side", "--field-manager=installer", "-f", "-"], configurations);
      await later(1_000);
    });
  });

  test("the leader is asked to stop while reviews run: it drains, hands over and ends with 0; no review fails", async (t) => {
    const [leader] = await leaders();
    assert.ok(leader !== undefined);
    const other = replicas.find((one) => one !== leader) as Meshward;
    await underLoad(t, async () => {
      const start = performance.now();
      leader.program.signal("SIGTERM");
      await until("the other replica to lead", async () => ((await leaders()).includes(other) ? true : undefined));
      t.diagnostic(`handed over after ${Math.round(performance.now() - start)} ms`);
      assert.ok(performance.now() - start < 10_000, "as if the leader had died");
      await until("the end", () => leader.program.ended());
      t.diagnostic(`ended after ${Math.round(performance.now() - start)} ms`);
      assert.equal(leader.program.ended(), "exit code 0");
      await later(1_000);
      await leader.restart();
      await until("endpoints", () => (address.endpoints.length === 2 ? true : undefined));
    });
  });

  test("the leader is killed: another one leads when the Lease is over, and rotates", async (t) => {
    const [leader] = await leaders();
    assert.ok(leader !== undefined);
    await leader.kill();
    const start = performance.now();
    await until("the other replica to lead", async () => ((await leaders()).length === 1 ? true : undefined));
    t.diagnostic(`another one led after ${Math.round(performance.now() - start)} ms`);
    await leader.restart();
    await until("endpoints", () => (address.endpoints.length === 2 ? true : undefined));
    await underLoad(t, async () => {
      assert.equal((await meshward("certs", "rotate")).code, 0);
      await phaseIs("publishing");
      await phaseIs("retiring");
      await later(3_000);
    });
  });

  test("nothing of a key is in a log", () => {
    for (const replica of replicas) assert.doesNotMatch(replica.program.output(), /PRIVATE KEY|BEGIN /);
  });
});
