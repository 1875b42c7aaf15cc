import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { chmodSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { Agent } from "node:https";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import { connect } from "node:tls";
import { generate } from "selfsigned";
import { type Certificate, CertificateError } from "../../src/tls/certificate-source.ts";
import type { Clock } from "../../src/tls/clock.ts";
import { mountedFiles } from "../../src/tls/mounted-files.ts";
import { selfSigned } from "../../src/tls/self-signed.ts";
import { responseIn, reviewBody, startShell, temporaryFolder, testCertificate } from "../contract/api-server.ts";

const now = Date.now();
const day = 86_400_000;

/** A clock that the test moves; `tick` runs what was scheduled. */
function fakeClock(time = now): Clock & { tick(): void; time: number } {
  const tasks = new Set<() => void>();
  return {
    time,
    now() {
      return this.time;
    },
    every(_periodMs, task) {
      tasks.add(task);
      return () => void tasks.delete(task);
    },
    tick: () => tasks.forEach((task) => task()),
  };
}

async function otherCertificate(test: TestContext): Promise<Certificate> {
  const { certificates } = await selfSigned({ folder: temporaryFolder(test), now });
  return certificates.current();
}

function write(folder: string, { cert, key }: { cert: string; key: string }) {
  const paths = { certPath: join(folder, "tls.crt"), keyPath: join(folder, "tls.key") };
  writeFileSync(paths.certPath, cert);
  writeFileSync(paths.keyPath, key);
  return paths;
}

function servedFingerprint(port: number, ca: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port, ca, servername: "localhost" }, () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    });
    socket.on("error", reject);
  });
}

test("self-signed: an authority and a certificate of it, written for clients to find", async (context) => {
  const folder = join(temporaryFolder(context), "certs");
  const { certificates, caPath } = await selfSigned({
    folder,
    hosts: ["meshward.meshward-system.svc", "10.0.0.7"],
    now,
  });
  assert.deepEqual(readdirSync(folder).sort(), ["ca.crt", "tls.crt", "tls.key"]);
  assert.equal(caPath, join(folder, "ca.crt"));
  const ca = new X509Certificate(readFileSync(caPath));
  const leaf = new X509Certificate(readFileSync(join(folder, "tls.crt")));
  assert.deepEqual([ca.ca, leaf.ca], [true, false]);
  assert.ok(leaf.checkIssued(ca) && leaf.verify(ca.publicKey));
  assert.match(ca.subject, /^CN=meshward-ca-\d{8}-[0-9a-f]{8}$/);
  for (const name of ["localhost", "meshward.meshward-system.svc"]) assert.equal(leaf.checkHost(name), name);
  for (const address of ["127.0.0.1", "10.0.0.7"]) assert.equal(leaf.checkIP(address), address);
  assert.match(leaf.subjectAltName ?? "", /IP Address:0:0:0:0:0:0:0:1/);
  assert.equal(leaf.publicKey.asymmetricKeyDetails?.namedCurve, "prime256v1");
  assert.deepEqual(leaf.keyUsage, ["1.3.6.1.5.5.7.3.1"]);
  assert.ok(Date.parse(leaf.validFrom) <= now - 3_599_000 && Date.parse(leaf.validTo) <= Date.parse(ca.validTo));
  assert.equal(statSync(join(folder, "tls.key")).mode & 0o777, 0o600);
  for (const file of readdirSync(folder)) assert.match(readFileSync(join(folder, file), "utf8"), /-----\n$/);
  assert.equal(certificates.current().ca, readFileSync(caPath, "utf8"));
  // sha256WithECDSA (1.2.840.10045.4.3.2) in both, never SHA-1
  const sha256 = Buffer.from("06082a8648ce3d040302", "hex");
  assert.ok(ca.raw.includes(sha256) && leaf.raw.includes(sha256));
});

test("self-signed: fresh at every start, and the key's mode does not depend on what was there", async (context) => {
  const folder = temporaryFolder(context);
  writeFileSync(join(folder, "tls.key"), "old");
  chmodSync(join(folder, "tls.key"), 0o644);
  const first = await selfSigned({ folder, now });
  assert.equal(statSync(join(folder, "tls.key")).mode & 0o777, 0o600);
  const second = await selfSigned({ folder, now });
  assert.notEqual(first.certificates.current().ca, second.certificates.current().ca);
});

test("self-signed: what is no host, and a folder that is a file, are refused in one line", async (context) => {
  const folder = temporaryFolder(context);
  for (const host of ["a b", "a, O=system:masters", "", "-a", "a..b"]) {
    await assert.rejects(selfSigned({ folder, hosts: [host], now }), /neither a host name nor an IP address/);
  }
  writeFileSync(join(folder, "file"), "");
  await assert.rejects(selfSigned({ folder: join(folder, "file"), now }), /cannot be written to .*file/);
  assert.equal(existsSync(join(folder, "tls.crt")), false);
});

test("mounted files are read, and end with a line feed", async (context) => {
  const folder = temporaryFolder(context);
  const certificate = await testCertificate();
  const paths = write(folder, { cert: certificate.cert.trimEnd(), key: certificate.key });
  const source = mountedFiles({ ...paths, clock: fakeClock() });
  assert.equal(source.current().cert, certificate.cert);
  assert.ok(source.current().notAfter > now);
});

test("files that cannot be used are refused in one line that names the file and what to do", async (context) => {
  const folder = temporaryFolder(context);
  const good = await testCertificate();
  const other = await otherCertificate(context);
  const nameless = await generate([{ name: "commonName", value: "meshward" }], {
    keyType: "ec",
    algorithm: "sha256",
    notBeforeDate: new Date(now - day),
    extensions: [{ name: "basicConstraints", cA: false }],
  });
  const encrypted = await generate([], { keyType: "ec", algorithm: "sha256", passphrase: "x" });
  const rows: readonly (readonly [{ cert: string; key: string }, RegExp, number?])[] = [
    [
      { cert: good.cert, key: other.key },
      /^--tls-cert .*tls\.crt and --tls-key .*tls\.key do not match: .* issued together$/,
    ],
    [{ cert: good.key, key: good.key }, /^--tls-cert .*tls\.crt is not a PEM certificate: found BEGIN PRIVATE KEY/],
    [
      { cert: good.cert, key: good.cert },
      /^--tls-key .*tls\.key is not a PEM private key: found a certificate .*swapped/,
    ],
    [{ cert: "", key: good.key }, /found an empty file/],
    [{ cert: "nonsense", key: good.key }, /found no PEM block/],
    [{ cert: good.cert.replace(/\n.{20}/, "\nAAAAAAAAAAAAAAAAAAAA"), key: good.key }, /contains a damaged certificate/],
    [{ cert: good.cert, key: good.key.replace(/\n.{20}/, "\nAAAAAAAAAAAAAAAAAAAA") }, /cannot be decoded/],
    [{ cert: encrypted.cert, key: encrypted.private }, /is encrypted: give a key without a passphrase/],
    [{ cert: nameless.cert, key: nameless.private }, /has no subject alternative name/],
    [good, /expired on \d{4}-.*put a renewed certificate/, now + 366 * day],
    [good, /is valid only from .*clock/, now - day],
  ];
  for (const [pair, message, time] of rows) {
    const paths = write(folder, pair);
    assert.throws(
      () => mountedFiles({ ...paths, clock: fakeClock(time) }),
      (error: Error) => {
        assert.ok(error instanceof CertificateError, String(error));
        assert.match(error.message, message);
        assert.equal(error.message.includes("\n"), false);
        return true;
      },
    );
  }
  const missing = { certPath: join(folder, "none.crt"), keyPath: join(folder, "tls.key"), clock: fakeClock() };
  assert.throws(() => mountedFiles(missing), /--tls-cert .*none\.crt does not exist; give the path of a PEM file/);
  assert.throws(() => mountedFiles({ ...missing, certPath: folder }), /is a folder/);
});

test("a new pair is served to new connections while old ones live on; a bad pair changes nothing", async (context) => {
  const folder = temporaryFolder(context);
  const [first, second] = [await testCertificate(), await otherCertificate(context)];
  const clock = fakeClock();
  const paths = write(folder, first);
  const certificates = mountedFiles({ ...paths, clock });
  const shell = await startShell(context, { certificates });
  const ca = `${first.ca}${second.ca}`;
  const agent = new Agent({ keepAlive: true, ca });
  context.after(() => agent.destroy());
  const sockets = new Set<unknown>();
  agent.on("free", (socket) => sockets.add(socket));
  const reviewed = async () =>
    responseIn(await shell.post("/validate", JSON.stringify(reviewBody()), { agent, ca })).allowed;
  const [firstPrint, secondPrint] = [first, second].map(({ cert }) => new X509Certificate(cert).fingerprint256);
  assert.equal(await reviewed(), true);

  // Half of a replacement: the certificate is new, the key still the old one.
  writeFileSync(paths.certPath, second.cert);
  clock.tick();
  clock.tick();
  assert.equal(await servedFingerprint(shell.port, ca), firstPrint);
  const problems = shell.lines.filter(({ msg }) => String(msg).includes("not reloaded"));
  assert.equal(problems.length, 1);
  assert.match(String(problems[0]?.problem), /do not match/);

  writeFileSync(paths.keyPath, second.key);
  clock.tick();
  assert.equal(await servedFingerprint(shell.port, ca), secondPrint);
  assert.equal(await reviewed(), true);
  assert.equal(sockets.size, 1);

  writeFileSync(paths.keyPath, "");
  clock.time = now + 366 * day;
  clock.tick();
  assert.equal(await servedFingerprint(shell.port, ca), secondPrint);
  const page = await shell.metrics.text();
  assert.match(page, /meshward_certificate_reloads_total\{result="ok"\} 1/);
  assert.match(page, /meshward_certificate_reloads_total\{result="refused"\} 2/);
  assert.match(
    page,
    new RegExp(`meshward_certificate_expiration_timestamp_seconds ${certificates.current().notAfter / 1_000}`),
  );

  certificates.close();
  write(folder, first);
  clock.tick();
  assert.equal(certificates.current().cert, second.cert);
});
