import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Agent, type RequestOptions } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test, type TestContext } from "node:test";
import { generate } from "selfsigned";
import { namesOf } from "../../src/http/client-authentication.ts";
import type { ClientAuthorities } from "../../src/tls/client-authorities.ts";
import { clientAuthorities } from "../../src/tls/client-authorities.ts";
import { responseIn, reviewBody, startShell } from "../contract/api-server.ts";

const body = JSON.stringify(reviewBody());

interface Pair {
  readonly cert: string;
  readonly key: string;
}
const authority = async (name: string): Promise<Pair> => {
  const { cert, private: key } = await generate([{ name: "commonName", value: name }], {
    algorithm: "sha256",
    keyType: "ec",
    extensions: [{ name: "basicConstraints", cA: true }],
  });
  return { cert, key };
};
const client = async (name: string, ca: Pair): Promise<Pair> => {
  const { cert, private: key } = await generate([{ name: "commonName", value: name }], {
    algorithm: "sha256",
    keyType: "ec",
    ca,
    extensions: [{ name: "subjectAltName", altNames: [{ type: 2, value: `${name}.example.com` }] }],
  });
  return { cert, key };
};

const [trusted, other] = await Promise.all([authority("authority of the API server"), authority("another authority")]);
const [apiServer, somebody, foreign] = await Promise.all([
  client("kube-apiserver", trusted),
  client("somebody", trusted),
  client("kube-apiserver", other),
]);

async function shellFor(context: TestContext, names: readonly string[] = []) {
  let pem = trusted.cert;
  const listeners: ((pem: string) => void)[] = [];
  const authorities: ClientAuthorities = {
    current: () => pem,
    onChange: (listener) => void listeners.push(listener),
    onProblem: () => undefined,
    reload: () => undefined,
    close: () => undefined,
  };
  const shell = await startShell(context, { clients: { authorities, names } });
  const replace = (next: string) => {
    pem = next;
    for (const listener of listeners) listener(next);
  };
  const post = (pair?: Pair, more: RequestOptions = {}) => shell.post("/validate", body, { ...pair, ...more });
  const refusals = async (reason: string) =>
    Number(new RegExp(`clients_refused_total\\{reason="${reason}"\\} (\\d+)`).exec(await shell.metrics.text())?.[1]);
  return { shell, replace, post, refusals };
}

describe("with --client-ca", () => {
  test("a client with a certificate of the authority may call", async (context) => {
    const { post } = await shellFor(context);
    assert.equal(responseIn(await post(apiServer)).allowed, true);
  });

  test("one without, or with one of another authority, is refused before it is heard, and logged once", async (context) => {
    const { shell, post, refusals } = await shellFor(context);
    for (const pair of [undefined, foreign, undefined, foreign]) await assert.rejects(post(pair));
    assert.equal(await refusals("certificate"), 4);
    const lines = shell.lines.filter(({ msg }) => String(msg).startsWith("client refused"));
    assert.deepEqual(
      lines.map(({ reason, level }) => [reason, level]),
      [["no certificate", "warn"]],
    );
    assert.equal(responseIn(await post(apiServer)).allowed, true);
  });

  test("the reason of a foreign certificate is logged", async (context) => {
    const { shell, post } = await shellFor(context);
    await assert.rejects(post(foreign));
    assert.match(String(shell.lines[0]?.["reason"]), /UNABLE_TO_GET_ISSUER|UNABLE_TO_VERIFY|SELF_SIGNED/);
  });

  test("--client-name limits it to names, common or alternative", async (context) => {
    for (const name of ["kube-apiserver", "kube-apiserver.example.com"]) {
      const { shell, post, refusals } = await shellFor(context, [name]);
      assert.equal(responseIn(await post(apiServer)).allowed, true);
      const refused = await post(somebody);
      assert.equal(refused.status, 403);
      assert.match(refused.text, /none of the names/);
      assert.equal(await refusals("name"), 1);
      assert.ok(shell.lines.some(({ names }) => String(names).includes("somebody")));
    }
  });

  test("other authorities count at once; a connection of the former ones ends after its next response", async (context) => {
    const { replace, post } = await shellFor(context);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    context.after(() => agent.destroy());
    const kept = () => post(apiServer, { agent });
    assert.equal((await kept()).headers["connection"], "keep-alive");
    replace(other.cert);
    assert.equal(responseIn(await post(foreign)).allowed, true);
    await assert.rejects(post(apiServer));
    await assert.rejects(kept());
  });

  test("a resumed session does not replace the certificate", async (context) => {
    const { shell } = await shellFor(context);
    const { connect } = await import("node:tls");
    const sessionOf = (pair: Pair | undefined, session?: Buffer) =>
      new Promise<{ session: Buffer | undefined; isReused: boolean; isOpen: boolean }>((resolve) => {
        let ticket: Buffer | undefined;
        const options = { port: shell.port, host: "127.0.0.1", ca: shell.ca, ...pair };
        const socket = connect({ ...options, ...(session === undefined ? {} : { session }) });
        socket.on("session", (one) => (ticket = one));
        socket.on("error", () => undefined);
        let isReused = false;
        socket.on("secureConnect", () => {
          isReused = socket.isSessionReused();
          socket.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        });
        let isOpen = false;
        socket.on("data", () => {
          isOpen = true;
          socket.destroy();
        });
        socket.on("close", () => resolve({ session: ticket, isReused, isOpen }));
      });
    const first = await sessionOf(apiServer);
    assert.equal(first.isOpen, true);
    const second = await sessionOf(undefined, first.session);
    assert.deepEqual([second.isReused, second.isOpen], [false, false]);
  });
});

test("names of a certificate, however they are quoted", () => {
  const subjectaltname = 'DNS:a.example.com, URI:"spiffe://x/a,b", email:c@example.com, IP Address:10.0.0.1';
  assert.deepEqual(namesOf({ subject: { CN: "me" }, subjectaltname }), [
    "me",
    "a.example.com",
    "spiffe://x/a,b",
    "c@example.com",
  ]);
  assert.deepEqual(namesOf({}), []);
});

describe("the file of --client-ca", () => {
  function scene(context: TestContext, text: string) {
    const folder = mkdtempSync(join(tmpdir(), "meshward-client-ca-"));
    context.after(() => rmSync(folder, { recursive: true }));
    const path = join(folder, "ca.crt");
    writeFileSync(path, text);
    let now = Date.now();
    let tick = () => undefined as void;
    const clock = {
      now: () => now,
      every(_: number, task: () => void) {
        tick = task;
        return () => undefined;
      },
    };
    return {
      path,
      open: () => clientAuthorities({ path, clock }),
      write: (next: string) => writeFileSync(path, next),
      tick: () => tick(),
      later: (ms: number) => (now += ms),
    };
  }

  test("is read again, and stays in use while it is wrong, which is said once", (context) => {
    const { open, write, tick } = scene(context, trusted.cert);
    const authorities = open();
    const [changes, problems]: [string[], string[]] = [[], []];
    authorities.onChange((pem) => changes.push(pem));
    authorities.onProblem((problem) => problems.push(problem));
    write("nothing");
    tick();
    tick();
    assert.equal(problems.length, 1);
    assert.equal(authorities.current().trim(), trusted.cert.trim());
    // Without a line feed between them, as some tools join them.
    write(`${trusted.cert.trim()}${other.cert.trim()}`);
    tick();
    assert.deepEqual(changes, [authorities.current()]);
    assert.equal(authorities.current().match(/BEGIN CERTIFICATE/g)?.length, 2);
  });

  const wrong: readonly [string, string, RegExp][] = [
    ["empty", "", /--client-ca .* has no PEM certificate; give/],
    ["a key", trusted.key, /has no PEM certificate/],
    ["damaged", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", /Certificate 1 in .* is damaged/],
  ];
  for (const [title, text, message] of wrong)
    test(`is refused at the start: ${title}`, (context) => {
      assert.throws(scene(context, text).open, message);
    });
  test("is refused at the start: expired, missing", (context) => {
    const { open, later } = scene(context, trusted.cert);
    later(20 * 365 * 86_400_000);
    assert.throws(open, /has expired, the last one on/);
    const clock = { now: () => 0, every: () => () => undefined };
    assert.throws(() => clientAuthorities({ path: "/nowhere/ca.crt", clock }), /cannot be read \(ENOENT\)/);
  });
});
