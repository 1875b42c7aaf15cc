import { readFileSync } from "node:fs";
import {
  type Certificate,
  CertificateError,
  type CertificateSource,
  checkedCertificate,
} from "./certificate-source.ts";
import type { Clock } from "./clock.ts";
import { keyExposure } from "./key-exposure.ts";

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
  const changed: ((certificate: Certificate) => void)[] = [];
  const failed: ((problem: string) => void)[] = [];
  let current = readPair(options);
  let lastProblem = "";

  const reload = () => {
    try {
      const next = readPair(options);
      lastProblem = "";
      if (next.cert === current.cert && next.key === current.key) return;
      current = next;
      for (const listener of changed) listener(next);
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      if (problem === lastProblem) return;
      lastProblem = problem;
      for (const listener of failed) listener(problem);
    }
  };
  const stop = clock.every(pollMs, reload);

  return {
    current: () => current,
    onChange: (listener) => void changed.push(listener),
    onProblem: (listener) => void failed.push(listener),
    reload,
    exposure: () => keyExposure(options.keyPath),
    close: stop,
  };
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
