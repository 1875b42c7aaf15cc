import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type TestContext } from "node:test";
import {
  authorityLifeMs,
  bundleOf,
  certificatesIn,
  checkedAuthority,
  isDue,
  isSameBundle,
  issue,
  leafLifeMs,
  newAuthority,
} from "../../src/tls/authority.ts";
import { CertificateError } from "../../src/tls/certificate-source.ts";
import { temporaryFolder } from "../contract/api-server.ts";

const now = Date.now();
const day = 86_400_000;
const names = ["meshward.meshward-system.svc", "10.0.0.7", "::1"];

function hasOpenssl(): boolean {
  try {
    execFileSync("openssl", ["version"]);
    return true;
  } catch {
    return false;
  }
}
/** Where it cannot be had, that is said, and an error under CI. */
const openssl = hasOpenssl() || process.env["CI"] ? {} : { skip: "openssl is not installed" };

function verify(context: TestContext, bundle: string, leaf: string): string {
  const folder = temporaryFolder(context);
  const [ca, cert] = [join(folder, "ca.crt"), join(folder, "tls.crt")];
  writeFileSync(ca, bundle);
  writeFileSync(cert, leaf);
  const args = ["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", ca, cert];
  return execFileSync("openssl", args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

test(
  "openssl verifies a certificate with all strict checks, also beside other authorities",
  openssl,
  async (context) => {
    const authorities = await Promise.all([newAuthority(now), newAuthority(now), newAuthority(now)]);
    const bundle = authorities.map(({ cert }) => cert).join("");
    for (const authority of authorities) {
      const { cert } = await issue(authority, names, now);
      assert.match(verify(context, authority.cert, cert), /: OK$/m);
      assert.match(verify(context, bundle, cert), /: OK$/m);
    }
    const [one, other] = authorities;
    assert.ok(one && other);
    const { cert } = await issue(one, names, now);
    assert.throws(() => verify(context, other.cert, cert), "another authority must not verify it");
  },
);

test("an authority is an EC P-256 CA with a name of its own, for a year, valid from yesterday", async () => {
  const made = await Promise.all(Array.from({ length: 20 }, () => newAuthority(now)));
  const certificates = made.map((authority) => checkedAuthority(authority, "issuer"));
  assert.equal(new Set(certificates.map(({ subject }) => subject)).size, made.length);
  assert.equal(new Set(certificates.map(({ serialNumber }) => serialNumber)).size, made.length);
  for (const certificate of certificates) {
    assert.ok(certificate.ca);
    assert.match(certificate.subject, /^CN=meshward-ca-\d{8}-[0-9a-f]{8}$/);
    assert.equal(certificate.publicKey.asymmetricKeyDetails?.namedCurve, "prime256v1");
    assert.equal(Date.parse(certificate.validFrom), Math.floor((now - day) / 1_000) * 1_000);
    assert.ok(Math.abs(Date.parse(certificate.validTo) - now - authorityLifeMs) < 1_000);
    assert.match(certificate.serialNumber, /^[4-7][0-9A-F]{31}$/, "127 random bits, positive");
  }
});

test("a certificate is for the names, for a week, and never longer than its authority", async () => {
  const authority = await newAuthority(now);
  const leaf = new X509Certificate((await issue(authority, names, now)).cert);
  assert.equal(leaf.checkHost("meshward.meshward-system.svc"), "meshward.meshward-system.svc");
  for (const address of ["10.0.0.7", "::1"]) assert.equal(leaf.checkIP(address), address);
  assert.deepEqual([leaf.ca, leaf.keyUsage], [false, ["1.3.6.1.5.5.7.3.1"]]);
  assert.ok(Math.abs(Date.parse(leaf.validTo) - now - leafLifeMs) < 1_000);
  const late = now + authorityLifeMs - day;
  const last = new X509Certificate((await issue(authority, names, late)).cert);
  assert.equal(last.validTo, new X509Certificate(authority.cert).validTo);
  await assert.rejects(issue(authority, names, now + authorityLifeMs + day), CertificateError);
});

test("a name that no certificate can have is refused", async () => {
  const authority = await newAuthority(now);
  for (const name of ["", "a b", "http://a", "a..b", "-a", "a,CN=b", "x".repeat(64)])
    await assert.rejects(issue(authority, [name], now), /neither a host name nor an IP address/);
});

test("a certificate is due after two thirds of its life, and whenever it is over", async () => {
  const authority = new X509Certificate((await newAuthority(now)).cert);
  const due = now + (authorityLifeMs * 2) / 3;
  assert.deepEqual(
    [now, due - day, due + day, now + 10 * authorityLifeMs].map((at) => isDue(authority, at)),
    [false, false, true, true],
  ); // prettier-ignore
  assert.equal(isDue(authority, due + day, 2 * day), false, "replicas renew one after the other");
  assert.equal(isDue(authority, now + authorityLifeMs + day, 1e12), true, "an expired one is due at once");
});

test("of a bundle, what can be read is read", async () => {
  const [one, other] = [await newAuthority(now), await newAuthority(now)];
  const damaged = one.cert.replace(/\n[^\n]{10}/, "\nAAAAAAAAAA");
  const text = `a comment\n${one.cert.trimEnd()}${other.cert}${damaged}${one.cert}-----BEGIN CERTIFICATE-----\n`;
  assert.deepEqual(
    certificatesIn(text).map(({ subject }) => subject),
    [one, other].map(({ cert }) => new X509Certificate(cert).subject),
  );
  assert.deepEqual(certificatesIn("garbage"), []);
  assert.equal(bundleOf(certificatesIn(text)), one.cert + other.cert);
  assert.ok(isSameBundle(`${one.cert}${other.cert}`, `${other.cert}# twice\n${other.cert}${one.cert}`));
  assert.ok(!isSameBundle(one.cert, one.cert + other.cert));
});

test("what is wrong with an authority is said without what is in it", async () => {
  const [authority, other] = [await newAuthority(now), await newAuthority(now)];
  const { cert, key } = await issue(authority, names, now);
  for (const [broken, says] of [
    [{ cert: "a canary", key: authority.key }, /issuer\.crt is not a certificate/],
    [{ cert: authority.cert, key: "a canary" }, /issuer\.key is not a private key/],
    [{ cert: authority.cert, key: other.key }, /issuer\.key is not the key of issuer\.crt/],
    [{ cert, key }, /issuer\.crt is no certificate authority/],
  ] as const)
    assert.throws(
      () => checkedAuthority(broken, "issuer"),
      (error) => error instanceof CertificateError && says.test(error.message) && !/canary/.test(error.message),
    );
});
