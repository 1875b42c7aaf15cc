import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";

export interface Certificate {
  /** PEM: the server's certificate, then the chain */
  readonly cert: string;
  /** PEM */
  readonly key: string;
  /** PEM of the CA that clients must trust, if it is known */
  readonly ca?: string;
  /** milliseconds since 1970 */
  readonly notAfter: number;
}

/** Provides the server's certificate. Every certificate that it returns matches its key and is valid. */
export interface CertificateSource {
  current(): Certificate;
  /** Called with each certificate that replaces the current one, after `current` returns it. */
  onChange(listener: (certificate: Certificate) => void): void;
  /** Called once for each reason why a replacement is rejected; the last valid certificate stays in use. */
  onProblem(listener: (problem: string) => void): void;
  /** Why clients cannot trust the current certificate yet, so that the server is not ready; undefined if they can. */
  problem?(): string | undefined;
  /** Looks for a replacement now. */
  reload?(): void;
  /** Who else may read the key, and what to do about it; undefined if that is nobody. */
  exposure?(): string | undefined;
  close(): void;
}

/** The message is one line with the file, what was found and what to do. */
export class CertificateError extends Error {
  override readonly name = "CertificateError";
}

export interface NamedPem {
  /** the name in messages: `--tls-cert certs/tls.crt` */
  readonly label: string;
  readonly pem: string;
}

/**
 * Checks a pair for errors that the API server (Go) and Node would find only during a handshake.
 * @throws CertificateError
 */
export function checkedCertificate(cert: NamedPem, key: NamedPem, now: number): Certificate {
  const certificate = readCertificate(cert);
  const privateKey = readKey(key);
  if (!certificate.checkPrivateKey(privateKey)) {
    throw new CertificateError(
      `${cert.label} and ${key.label} do not match: the key belongs to another certificate; give the two files that were issued together`,
    );
  }
  const notAfter = Date.parse(certificate.validTo);
  checkValidity(cert.label, certificate, now);
  if (certificate.subjectAltName === undefined) {
    throw new CertificateError(
      `${cert.label} has no subject alternative name, so the API server rejects it; issue a certificate for <service>.<namespace>.svc`,
    );
  }
  return { cert: withNewline(cert.pem), key: withNewline(key.pem), notAfter };
}

function readCertificate({ label, pem }: NamedPem): X509Certificate {
  if (!pem.includes("-----BEGIN CERTIFICATE-----")) {
    throw new CertificateError(
      `${label} is not a PEM certificate: found ${contentOf(pem)}, expected BEGIN CERTIFICATE`,
    );
  }
  try {
    return new X509Certificate(pem);
  } catch {
    throw new CertificateError(`${label} contains a damaged certificate that cannot be decoded; write the file again`);
  }
}

function readKey({ label, pem }: NamedPem): KeyObject {
  if (!/-----BEGIN ([A-Z]+ )*PRIVATE KEY-----/.test(pem)) {
    throw new CertificateError(
      `${label} is not a PEM private key: found ${contentOf(pem)}, expected BEGIN PRIVATE KEY`,
    );
  }
  try {
    return createPrivateKey(pem);
  } catch {
    const why = pem.includes("ENCRYPTED") ? "is encrypted: give a key without a passphrase" : "cannot be decoded";
    throw new CertificateError(`The private key in ${label} ${why}`);
  }
}

function checkValidity(label: string, certificate: X509Certificate, now: number): void {
  if (Date.parse(certificate.validTo) <= now) {
    throw new CertificateError(
      `${label} expired on ${day(certificate.validTo)}; put a renewed certificate and key there`,
    );
  }
  if (Date.parse(certificate.validFrom) > now) {
    throw new CertificateError(
      `${label} is valid only from ${day(certificate.validFrom)}; wait, or correct this machine's clock (${new Date(now).toISOString()})`,
    );
  }
}

function day(date: string): string {
  return new Date(date).toISOString();
}

function contentOf(pem: string): string {
  if (pem.trim() === "") return "an empty file";
  const block = /-----BEGIN ([A-Z0-9 ]{1,40})-----/.exec(pem)?.[1];
  if (block === undefined) return "no PEM block";
  return block === "CERTIFICATE" ? "a certificate (are the two files swapped?)" : `BEGIN ${block}`;
}

/** PEM blocks that are joined without a line feed between them cannot be parsed. */
export function withNewline(pem: string): string {
  return `${pem.trimEnd()}\n`;
}
