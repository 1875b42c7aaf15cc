import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as elapsed } from "node:timers/promises";
import { after, describe, type TestContext, test } from "node:test";
import { connect as connectTls } from "node:tls";
import { connect } from "node:net";
import { type Authority, issue, newAuthority } from "../../src/tls/authority.ts";
import { exchange, reviewBody, virtualService } from "../contract/api-server.ts";
import { follow, isLong, loadMs, Service, shown, underLoad } from "./load.ts";
import { type Server, serveWith } from "./server-process.ts";

// Replicas of `serve` that are rotated, stopped, killed and overloaded while API servers send reviews. The figures are in the
// output of the tests. A minute with 1,000 connections: MESHWARD_LOAD_SECONDS=60.

const root = mkdtempSync(join(tmpdir(), "meshward-load-"));
after(() => rmSync(root, { recursive: true }));
const mesh = join(root, "mesh");
mkdirSync(mesh);
writeFileSync(
  join(mesh, "shop.yaml"),
  "apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n---\napiVersion: v1\nkind: Service\nmetadata: { name: reviews, namespace: shop }\nspec: { selector: { app: reviews }, ports: [{ port: 80 }] }\n",
);

interface Files {
  readonly cert: string;
  readonly key: string;
}

/** Writes a new certificate as the kubelet does: each file is replaced as a whole. */
async function serves(files: Files, authority: Authority): Promise<void> {
  const { cert, key } = await issue(authority, ["localhost", "127.0.0.1"], Date.now());
  for (const [path, pem] of [
    [files.cert, cert],
    [files.key, key],
  ] as const) {
    writeFileSync(`${path}.next`, pem);
    renameSync(`${path}.next`, path);
  }
}

interface Replica extends Server {
  readonly files: Files;
}

interface ReplicaOptions {
  readonly node?: string[];
  readonly drain?: string;
  /** The folder of `--policies`. */
  readonly policies?: string;
}

async function replica(authority: Authority, { node = [], drain = "1", policies }: ReplicaOptions = {}) {
  const folder = mkdtempSync(join(root, "r-"));
  const files = { cert: join(folder, "tls.crt"), key: join(folder, "tls.key") };
  await serves(files, authority);
  const server = await serveWith(
    { node },
    ...["--mesh", mesh, "--host", "127.0.0.1", "--port", "0", "--ops-port", "0", "--drain-seconds", drain],
    ...["--tls-cert", files.cert, "--tls-key", files.key],
    ...(policies === undefined ? [] : ["--policies", policies]),
  );
  return { ...server, files };
}

const residentMib = ({ child }: Server): number =>
  Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1]) / 1_024;

const authority = newAuthority(Date.now());

async function stops({ child }: Server): Promise<void> {
  const exit = once(child, "exit");
  child.kill("SIGTERM");
  assert.deepEqual(await exit, [0, null]);
}

const unbalanced = {
  ...virtualService,
  spec: {
    hosts: ["reviews"],
    http: [{ route: [50, 60].map((weight) => ({ destination: { host: "reviews" }, weight })) }],
  },
};

const documentsOfSet = isLong ? 10_000 : 1_000;
const rule = "virtual-service-weights-not-100";
const policyOf = (name: string, spec: object): string =>
  `${JSON.stringify({ apiVersion: "meshward.io/v1alpha1", kind: "MeshwardPolicy", metadata: { name }, spec })}\n---\n`;

/** Two policies that say the version of their set, in different fields of one rule, and many others, in as many files as teams have. */
function writeSet(folder: string, version: number): void {
  mkdirSync(folder);
  const one = policyOf("said", { rules: [{ id: rule, message: `set ${version}.` }] });
  const other = policyOf("linked", { rules: [{ id: rule, runbook: `https://example.com/set-${version}` }] });
  writeFileSync(join(folder, "a.yaml"), one);
  writeFileSync(join(folder, "z.yaml"), other);
  const perFile = 100;
  for (let file = 0; file < documentsOfSet / perFile; file++) {
    const policies = Array.from({ length: perFile }, (_, i) =>
      policyOf(`team-${file}-${i}`, {
        match: { namespaces: { names: [`team-${file}-${i}`] } },
        rules: [{ id: rule, message: `set ${version}` }],
      }),
    );
    writeFileSync(join(folder, `m-${file}.yaml`), policies.join(""));
  }
}

/** A Service over replicas that are followed until the test ends. */
async function serviceOver(
  context: TestContext,
  replicas: readonly Replica[],
): Promise<{ service: Service; port: number }> {
  const service = new Service();
  const stop = new AbortController();
  const port = await service.listen();
  service.endpoints = replicas.map((one) => one.port);
  const following = follow(service, () => replicas, stop.signal);
  context.after(async () => {
    stop.abort();
    await following;
    service.close();
    for (const { child } of replicas) child.kill("SIGKILL");
  });
  return { service, port };
}

describe("under load", () => {
  const connections = isLong ? 1_000 : 200;
  test(`${connections} connections of API servers: every review gets the right answer, and memory stays where it is`, async (context) => {
    const ca = await authority;
    const one = await replica(ca);
    let warm = 0;
    const load = { port: one.port, caBundle: () => ca.cert, clients: connections, everyMs: 2_000 };
    const result = await underLoad(load, async () => {
      await elapsed(2_000 + loadMs / 2);
      warm = residentMib(one);
      await elapsed(loadMs / 2);
    });
    const grown = residentMib(one) / warm;
    context.diagnostic(`${shown(result)}; memory ${Math.round(warm)} MiB, then times ${grown.toFixed(2)}`);
    assert.deepEqual(result.failed, []);
    assert.ok(result.sent >= connections, String(result.sent));
    assert.ok(grown < 1.5, String(grown));
    await stops(one);
  });

  test("certificates and the authority are rotated: clients that verify with the caBundle of the moment never fail", async (context) => {
    const [old, next] = [await authority, await newAuthority(Date.now())];
    const one = await replica(old);
    let caBundle = old.cert;
    const serials = new Set<string>();
    /** Ends when clients have seen the new certificate. */
    const rotate = async (to: Authority) => {
      const before = serials.size;
      await serves(one.files, to);
      one.child.kill("SIGHUP");
      while (serials.size === before) await elapsed(50);
      await elapsed(200);
    };
    const load = { port: one.port, caBundle: () => caBundle, clients: 20, everyMs: 20, reconnectAfter: 5, serials };
    const result = await underLoad(load, async () => {
      // Else a rotation would end when clients have seen the first certificate.
      while (serials.size === 0) await elapsed(50);
      for (let round = 0; round < Math.max(3, loadMs / 1_000); round++) await rotate(old);
      caBundle = `${old.cert}\n${next.cert}`;
      // So long that every client has begun a connection with it, also on a slow machine.
      await elapsed(1_500);
      await rotate(next);
      await rotate(next);
      caBundle = next.cert;
      await elapsed(500);
    });
    context.diagnostic(`${shown(result)}; ${result.serials.size} certificates were served`);
    assert.deepEqual(result.failed, []);
    assert.ok(result.serials.size >= 6, [...result.serials].join());
    await stops(one);
  });

  test("the files of the certificate are spoiled in every way: the last good one is served, until they are right again", async (context) => {
    const ca = await authority;
    const one = await replica(ca);
    const { cert, key } = one.files;
    const other = await issue(ca, ["localhost", "127.0.0.1"], Date.now());
    const longAgo = Date.now() - 3 * 365 * 86_400_000;
    const expired = await issue(await newAuthority(longAgo), ["localhost", "127.0.0.1"], longAgo);
    const serials = new Set<string>();
    const load = { port: one.port, caBundle: () => ca.cert, clients: 20, everyMs: 20, reconnectAfter: 5, serials };
    const spoiled: Readonly<Record<string, () => void>> = {
      "the key of another certificate": () => writeFileSync(key, other.key),
      garbage: () => writeFileSync(cert, "garbage"),
      "an empty file": () => writeFileSync(key, ""),
      "a file that was removed": () => rmSync(cert),
      "a certificate that has expired": () => {
        writeFileSync(key, expired.key);
        writeFileSync(cert, expired.cert);
      },
    };
    const told: string[] = [];
    const result = await underLoad(load, async () => {
      while (serials.size === 0) await elapsed(10);
      for (const [what, spoil] of Object.entries(spoiled)) {
        const before = serials.size;
        const lines = () => one.log().filter(({ level }) => level === "error" || level === "warn").length;
        const saidBefore = lines();
        spoil();
        one.child.kill("SIGHUP");
        while (lines() === saidBefore) await elapsed(10);
        assert.equal(serials.size, before, what);
        const start = performance.now();
        await serves(one.files, ca);
        one.child.kill("SIGHUP");
        while (serials.size === before) await elapsed(10);
        told.push(`${what} ${Math.round(performance.now() - start)} ms`);
      }
    });
    context.diagnostic(`${shown(result)}; repaired and served after: ${told.join(", ")}`);
    assert.deepEqual(result.failed, []);
    await stops(one);
  });

  test("a replica is suspended while its certificate is replaced: it goes on with the new one, and answers what has waited", async (context) => {
    const ca = await authority;
    const one = await replica(ca);
    const serials = new Set<string>();
    const load = { port: one.port, caBundle: () => ca.cert, clients: 20, everyMs: 50, reconnectAfter: 5, serials };
    const suspendedMs = Math.max(2_000, loadMs / 6);
    const result = await underLoad(load, async () => {
      while (serials.size === 0) await elapsed(10);
      one.child.kill("SIGSTOP");
      await serves(one.files, ca);
      await elapsed(suspendedMs);
      one.child.kill("SIGCONT");
      while (serials.size < 2) await elapsed(10);
    });
    context.diagnostic(`${shown(result)}; suspended for ${suspendedMs} ms`);
    assert.deepEqual(result.failed, []);
    await stops(one);
  });

  test("policies are replaced: no review fails, and none sees a part of a set", async (context) => {
    const ca = await authority;
    const folder = mkdtempSync(join(root, "policies-"));
    const link = join(folder, "current");
    const replace = (version: number) => {
      // As the kubelet replaces a mounted ConfigMap: one symbolic link, in one step.
      writeSet(join(folder, `set-${version}`), version);
      symlinkSync(join(folder, `set-${version}`), `${link}.next`);
      renameSync(`${link}.next`, link);
    };
    replace(1);
    const one = await replica(ca, { policies: link });
    const seen = new Set<string>();
    const denied = JSON.stringify(reviewBody({ object: unbalanced }));
    const ask = async () => {
      const { text: body } = await exchange(`https://localhost:${one.port}/validate`, denied, {
        method: "POST",
        ca: ca.cert,
      });
      const [said, linked] = [/set (\d+)\./.exec(body)?.[1], /set-(\d+)/.exec(body)?.[1]];
      assert.ok(said !== undefined && said === linked, body);
      seen.add(said);
    };
    const load = { port: one.port, caBundle: () => ca.cert, clients: 20, everyMs: 50 };
    const took: number[] = [];
    const result = await underLoad(load, async () => {
      await ask();
      for (const version of [2, 3]) {
        replace(version);
        const start = performance.now();
        for (let asked = 0; asked < 2_000 && !seen.has(String(version)); asked++) {
          await ask();
          await elapsed(10);
        }
        took.push(Math.round(performance.now() - start));
      }
    });
    context.diagnostic(`${shown(result)}; ${documentsOfSet} documents were in force after ${took.join(" and ")} ms`);
    assert.deepEqual(result.failed, []);
    assert.deepEqual([...seen], ["1", "2", "3"]);
    await stops(one);
  });

  test("one of two replicas is asked to stop: no review fails, and it ends with 0", async (context) => {
    const ca = await authority;
    const replicas = [await replica(ca, { drain: "2" }), await replica(ca)];
    const { port } = await serviceOver(context, replicas);
    const load = { port, caBundle: () => ca.cert, clients: 100, everyMs: 100 };
    const result = await underLoad(load, async () => {
      await elapsed(500);
      const start = performance.now();
      await stops(replicas[0] as Replica);
      context.diagnostic(`it ended after ${Math.round(performance.now() - start)} ms`);
      await elapsed(500);
    });
    context.diagnostic(shown(result));
    assert.deepEqual(result.failed, []);
  });

  test("one of three replicas is killed: what it was answering fails, and nothing that is sent to the others", async (context) => {
    const ca = await authority;
    const replicas = await Promise.all([1, 2, 3].map(() => replica(ca)));
    const { service, port } = await serviceOver(context, replicas);
    const load = { port, caBundle: () => ca.cert, clients: 90, everyMs: 100 };
    let [killedMs, removedMs] = [0, 0];
    const result = await underLoad(load, async () => {
      await elapsed(1_000);
      killedMs = performance.now();
      replicas[0]?.child.kill("SIGKILL");
      while (service.endpoints.includes(replicas[0]?.port ?? 0)) await elapsed(10);
      removedMs = performance.now();
      await elapsed(loadMs);
    });
    const last = Math.max(killedMs, ...result.failed.map(({ failedMs }) => failedMs));
    const [gone, well] = [removedMs - killedMs, last - killedMs].map(Math.round);
    context.diagnostic(
      `${shown(result)}; its endpoint was gone after ${gone} ms, the last failure was after ${well} ms`,
    );
    for (const { why, failedMs, clientPort } of result.failed) {
      assert.match(why, /^(ECONNRESET|ECONNREFUSED|EPIPE)$/);
      // By the connection: a client may learn later than the Service that a replica is gone, and send once more on the same one.
      const forwarded = service.forwarded.get(clientPort);
      assert.ok(forwarded !== undefined, why);
      assert.equal(forwarded.endpoint, replicas[0]?.port, why);
      assert.ok(
        failedMs >= killedMs && forwarded.ms <= removedMs,
        JSON.stringify({ why, failedMs, removedMs, forwarded }),
      );
    }
    assert.ok(result.sent > 2 * result.failed.length, shown(result));
  });

  test("little memory and bodies of 15 MiB: each is answered, shed with 429, or refused; the server lives", async (context) => {
    const ca = await authority;
    const one = await replica(ca, { node: ["--max-old-space-size=96"] });
    const large = JSON.stringify(reviewBody({ filler: "x".repeat(15 * 1_024 * 1_024) }));
    const answers = await Promise.all(
      Array.from({ length: 24 }, () =>
        exchange(`https://localhost:${one.port}/validate`, large, { method: "POST", ca: ca.cert }).then(
          ({ status }) => String(status),
          (error: NodeJS.ErrnoException) => String(error.code),
        ),
      ),
    );
    const counts = Map.groupBy(answers, (answer) => answer);
    context.diagnostic([...counts].map(([answer, { length }]) => `${answer}: ${length}`).join(", "));
    assert.ok(
      answers.every((answer) => answer === "200" || answer === "429"),
      answers.join(),
    );
    assert.ok(answers.includes("200"));
    const good = await exchange(`https://localhost:${one.port}/validate`, JSON.stringify(reviewBody()), {
      method: "POST",
      ca: ca.cert,
    });
    assert.equal(good.status, 200);
    await stops(one);
  });

  test("slow handshakes, headers and bodies, and 2,500 connections without a word: API servers notice nothing", async (context) => {
    const ca = await authority;
    const one = await replica(ca);
    const slow = Array.from({ length: 2_500 }, () =>
      connect(one.port, "127.0.0.1")
        .on("error", () => undefined)
        .resume(),
    );
    const begun = [
      "",
      "POST /validate HTTP/1.1\r\nHost: a\r\n",
      "POST /validate HTTP/1.1\r\nHost: a\r\nContent-Length: 999\r\n\r\n{",
    ];
    const half = begun.flatMap((bytes) =>
      Array.from({ length: 50 }, () => {
        const socket = connectTls({ port: one.port, host: "127.0.0.1", ca: ca.cert, servername: "localhost" });
        return socket
          .on("error", () => undefined)
          .once("secureConnect", () => void socket.write(bytes || " "))
          .resume();
      }),
    );
    context.after(() => {
      for (const socket of [...slow, ...half]) socket.destroy();
    });
    const load = { port: one.port, caBundle: () => ca.cert, clients: 50, everyMs: 50, reconnectAfter: 20 };
    const result = await underLoad(load, () => elapsed(loadMs));
    const left = () => slow.filter(({ closed }) => !closed).length;
    for (let wait = 0; wait < 300 && left() > 2_000; wait++) await elapsed(100);
    const open = left();
    context.diagnostic(`${shown(result)}; ${open} of ${slow.length} idle connections are left`);
    assert.deepEqual(result.failed, []);
    assert.ok(open <= 2_000, String(open));
    for (const socket of [...slow, ...half]) socket.destroy();
    await stops(one);
  });
});
