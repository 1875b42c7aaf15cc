import { createPrivateKey, KeyObject, randomBytes, webcrypto, type X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { type Certificate, CertificateError, checkedCertificate, withNewline } from "./certificate-source.ts";
import { certificateIn } from "./read-certificates.ts";

/** A certificate authority: a self-signed certificate with its key. */
export interface Authority {
  /** PEM */
  readonly cert: string;
  /** PEM, PKCS#8 */
  readonly key: string;
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/** An authority is valid for a year. */
export const authorityLifeMs = 365 * dayMs;
/** A server's certificate is valid for a week. Each replica keeps its own in memory only. */
export const leafLifeMs = 7 * dayMs;
/** Validity starts a day ago, because clocks differ, and a certificate from the future is rejected. */
const backdatedMs = dayMs;

/** The share of its life after which a certificate is replaced. */
const usedShare = 2 / 3;

/** Whether a certificate should be replaced, by the wall clock: after two thirds of its life, or when it is over. */
export function isDue(certificate: Pick<X509Certificate, "validFrom" | "validTo">, now: number, delayMs = 0): boolean {
  const [from, to] = [Date.parse(certificate.validFrom) + backdatedMs, Date.parse(certificate.validTo)];
  return now >= to || now >= from + (to - from) * usedShare + delayMs;
}

/** Slow to load, and most commands need no certificate. */
async function generator() {
  const x509 = await import("@peculiar/x509");
  // The types of the library are those of browsers.
  x509.cryptoProvider.set(webcrypto as never);
  return x509;
}

const keyAlgorithm = { name: "ECDSA", namedCurve: "P-256" } as const;
const signingAlgorithm = { name: "ECDSA", hash: "SHA-256" } as const;

/**
 * Creates an authority with an EC P-256 key and a SHA-256 signature, for certificates of servers only. Each has a name of
 * its own and a key identifier, so that several in one bundle can be told apart, also by `openssl verify -x509_strict`.
 */
export async function newAuthority(now: number): Promise<Authority> {
  const x509 = await generator();
  const keys = await webcrypto.subtle.generateKey(keyAlgorithm, true, ["sign", "verify"]);
  const day = new Date(now).toISOString().slice(0, 10).replaceAll("-", "");
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    name: `CN=meshward-ca-${day}-${randomBytes(4).toString("hex")}`,
    notBefore: new Date(now - backdatedMs),
    notAfter: new Date(now + authorityLifeMs),
    signingAlgorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { cert: withNewline(certificate.toString("pem")), key: pemOf(keys.privateKey) };
}

/**
 * Issues a certificate for a server. It ends with the authority at the latest.
 * @throws CertificateError if a name is neither a DNS name nor an IP address, or the authority has expired
 */
export async function issue(authority: Authority, names: readonly string[], now: number): Promise<Certificate> {
  const x509 = await generator();
  const issuer = new x509.X509Certificate(authority.cert);
  const keys = await webcrypto.subtle.generateKey(keyAlgorithm, true, ["sign", "verify"]);
  const signingKey = createPrivateKey(authority.key).toCryptoKey(keyAlgorithm, false, ["sign"]);
  const notBefore = new Date(Math.max(now - backdatedMs, issuer.notBefore.getTime()));
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: newSerial(),
    // Without user text, because a common name is limited to 64 characters, and clients read only the alternative names.
    subject: "CN=meshward",
    issuer: issuer.subjectName,
    notBefore,
    notAfter: new Date(Math.min(now + leafLifeMs, issuer.notAfter.getTime())),
    signingAlgorithm,
    publicKey: keys.publicKey,
    signingKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(names.map(alternativeName)),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
    ],
  });
  const cert = { label: "the issued certificate", pem: certificate.toString("pem") };
  const key = { label: "its key", pem: pemOf(keys.privateKey) };
  return { ...checkedCertificate(cert, key, now), ca: authority.cert };
}

/** 127 random bits: positive, and never repeated, because clients cache certificates by issuer and serial number. */
function newSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString("hex");
}

const pemOf = (key: webcrypto.CryptoKey): string =>
  KeyObject.from(key).export({ type: "pkcs8", format: "pem" }).toString();

/** A DNS name, of which the first label may be `*`. */
export const hostName =
  /^(?=.{1,253}$)(\*\.)?([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)*[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/i;

function alternativeName(name: string): { type: "ip" | "dns"; value: string } {
  if (isIP(name) !== 0) return { type: "ip", value: name };
  if (hostName.test(name)) return { type: "dns", value: name };
  throw new CertificateError(
    `${JSON.stringify(name)} is neither a host name nor an IP address, so a certificate cannot contain it; correct --tls-host`,
  );
}

/**
 * Checks that a certificate and key are an authority, which may have expired.
 * @throws CertificateError whose message contains neither
 */
export function checkedAuthority({ cert, key }: Authority, label: string): X509Certificate {
  const certificate = decoded(cert);
  if (certificate === undefined) throw new CertificateError(`${label}.crt is not a certificate in PEM`);
  if (!certificate.ca) throw new CertificateError(`${label}.crt is no certificate authority`);
  try {
    if (certificate.checkPrivateKey(createPrivateKey(key))) return certificate;
  } catch {
    throw new CertificateError(`${label}.key is not a private key in PEM`);
  }
  throw new CertificateError(`${label}.key is not the key of ${label}.crt`);
}

function decoded(pem: string): X509Certificate | undefined {
  try {
    return certificateIn(pem);
  } catch {
    return undefined;
  }
}

const block = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** The certificates in a PEM bundle; what cannot be decoded is left out. Each only once. */
export function certificatesIn(pem: string): readonly X509Certificate[] {
  const found = new Map<string, X509Certificate>();
  for (const [text] of pem.matchAll(block)) {
    const certificate = decoded(text);
    if (certificate !== undefined) found.set(certificate.fingerprint256, certificate);
  }
  return [...found.values()];
}

/** A PEM bundle of these certificates. */
export const bundleOf = (certificates: readonly X509Certificate[]): string =>
  certificates.map((certificate) => withNewline(certificate.toString())).join("");

/** Whether both bundles have the same certificates, in any order and form. */
export function isSameBundle(one: string, other: string): boolean {
  if (one === other) return true;
  const prints = (pem: string) => new Set(certificatesIn(pem).map(({ fingerprint256 }) => fingerprint256));
  return prints(one).symmetricDifference(prints(other)).size === 0;
}
