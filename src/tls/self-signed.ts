import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { dirname, join, resolve } from "node:path";
import type { SubjectAltNameEntry } from "selfsigned";
import { unwritable } from "../text/file-errors.ts";
import { hostName } from "./authority.ts";
import {
  type Certificate,
  CertificateError,
  type CertificateSource,
  checkedCertificate,
  withNewline,
} from "./certificate-source.ts";

export interface SelfSignedOptions {
  /** folder for ca.crt, tls.crt and tls.key; created if it does not exist */
  readonly folder: string;
  /** DNS names and IP addresses in addition to localhost, 127.0.0.1 and ::1 */
  readonly hosts?: readonly string[];
  /** milliseconds since 1970 */
  readonly now: number;
}

export interface Unsaved {
  /** @throws CertificateError when the folder cannot be written */
  save(): void;
}

export interface SelfSigned {
  readonly certificates: CertificateSource;
  /** the file that clients must trust */
  readonly caPath: string;
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;

/**
 * Creates a new CA and a certificate signed by it. The CA's key is never written and is discarded immediately, so
 * trusting the CA means trusting this one server certificate.
 * @throws CertificateError if a host is not a DNS name or IP address, or the folder cannot be written
 */
export async function selfSigned(options: SelfSignedOptions): Promise<SelfSigned> {
  const made = await unsavedSelfSigned(options);
  made.save();
  return made;
}

/**
 * The same, but not written yet, because a server that cannot open its port must not replace the files of a running one.
 * @throws CertificateError if a host is not a DNS name or IP address
 */
export async function unsavedSelfSigned(options: SelfSignedOptions): Promise<SelfSigned & Unsaved> {
  const certificate = await issue(options);
  const caPath = join(options.folder, "ca.crt");
  return { certificates: fixedCertificate(certificate), caPath, save: () => write(options.folder, certificate) };
}

/** A source whose certificate never changes. */
export function fixedCertificate(certificate: Certificate): CertificateSource {
  return { current: () => certificate, onChange: () => undefined, onProblem: () => undefined, close: () => undefined };
}

async function issue({ hosts = [], now }: SelfSignedOptions): Promise<Certificate & { readonly ca: string }> {
  const { generate } = await import("selfsigned"); // slow to load, and most servers bring their own certificate
  // The library's default is SHA-1, which Go rejects. The validity starts an hour ago, because clocks differ.
  const common = { keyType: "ec", curve: "P-256", algorithm: "sha256", notBeforeDate: new Date(now - hourMs) } as const;
  const notAfterDate = new Date(now + 365 * dayMs);
  // Each CA gets a unique name, because two CAs of the same name in one bundle cannot be told apart.
  const suffix = `${new Date(now).toISOString().slice(0, 10).replaceAll("-", "")}-${randomBytes(4).toString("hex")}`;
  const authority = await generate([{ name: "commonName", value: `meshward-ca-${suffix}` }], {
    ...common,
    notAfterDate,
    extensions: [
      { name: "basicConstraints", cA: true, pathLenConstraint: 0, critical: true },
      { name: "keyUsage", keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
  const leaf = await generate([{ name: "commonName", value: "meshward" }], {
    ...common,
    notAfterDate,
    ca: { key: authority.private, cert: authority.cert },
    extensions: [
      { name: "basicConstraints", cA: false, critical: true },
      { name: "keyUsage", digitalSignature: true, critical: true },
      { name: "extKeyUsage", serverAuth: true },
      { name: "subjectAltName", altNames: ["localhost", "127.0.0.1", "::1", ...hosts].map(alternativeName) },
    ],
  });
  const cert = { label: "the self-signed certificate", pem: leaf.cert };
  const key = { label: "the self-signed key", pem: leaf.private };
  return { ...checkedCertificate(cert, key, now), ca: withNewline(authority.cert) };
}

function alternativeName(host: string): SubjectAltNameEntry {
  if (isIP(host) !== 0) return { type: 7, ip: host };
  if (hostName.test(host)) return { type: 2, value: host };
  throw new CertificateError(
    `${JSON.stringify(host)} is neither a host name nor an IP address, so a certificate cannot contain it; correct --tls-host`,
  );
}

function write(folder: string, { ca, cert, key }: Certificate & { readonly ca: string }): void {
  try {
    makeFolder(folder);
    replace(join(folder, "tls.key"), key, 0o600);
    replace(join(folder, "tls.crt"), cert, 0o644);
    replace(join(folder, "ca.crt"), ca, 0o644);
  } catch (error) {
    throw new CertificateError(`The certificate cannot be written to ${folder}: ${unwritable(error)}`);
  }
}

/** Node's own recursive mkdir never returns where a folder cannot be made and says ENOENT, as below /proc. */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return;
  const parent = dirname(resolve(folder));
  if (parent !== resolve(folder)) makeFolder(parent);
  mkdirSync(folder);
}

/** Removes the file first, because an existing file keeps its mode when it is written to. */
function replace(path: string, content: string, mode: number): void {
  rmSync(path, { force: true });
  writeFileSync(path, content, { mode, flag: "wx" });
}
