import { readFileSync } from "node:fs";
import {
  type Certificate,
  CertificateError,
  type CertificateSource,
  checkedCertificate,
} from "./certificate-source.ts";
import type { Clock } from "./clock.ts";
import { keyExposure } from "./key-exposure.ts";
import { polledContent } from "./polled-content.ts";

export interface MountedFilesOptions {
  readonly certPath: string;
  readonly keyPath: string;
  readonly clock: Clock;
  /** how often the files are read again; default 10 s */
  readonly pollMs?: number;
}

/**
 * A certificate and key from files that something else writes (a mounted Secret, cert-manager, a script). Changes are
 * detected by reading the content, because the kubelet swaps a symbolic link, which file watchers report only once.
 * @throws CertificateError if the files cannot be used at the start; later the last valid pair stays in use
 */
export function mountedFiles(options: MountedFilesOptions): CertificateSource {
  const { clock, pollMs = 10_000 } = options;
  const isSame = (a: Certificate, b: Certificate) => a.cert === b.cert && a.key === b.key;
  const content = polledContent({ read: () => readPair(options), isSame, clock, pollMs });
  return { ...content, exposure: () => keyExposure(options.keyPath) };
}

function readPair({ certPath, keyPath, clock }: MountedFilesOptions): Certificate {
  const cert = { label: `--tls-cert ${certPath}`, pem: read("--tls-cert", certPath) };
  const key = { label: `--tls-key ${keyPath}`, pem: read("--tls-key", keyPath) };
  return checkedCertificate(cert, key, clock.now());
}

const advice: Readonly<Record<string, string>> = {
  ENOENT: "does not exist; give the path of a PEM file",
  EACCES: "cannot be read by this user; change its owner or mode",
  EISDIR: "is a folder; give the path of a PEM file",
};

function read(flag: string, path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new CertificateError(`${flag} ${path} ${advice[code] ?? `cannot be read (${code})`}`);
  }
}
