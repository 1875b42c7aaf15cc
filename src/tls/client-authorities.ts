import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { CertificateError, withNewline } from "./certificate-source.ts";
import type { Clock } from "./clock.ts";

/** The authorities whose certificates a client has to present. */
export interface ClientAuthorities {
  /** PEM */
  current(): string;
  /** Called with each PEM that replaces the current one, after `current` returns it. */
  onChange(listener: (pem: string) => void): void;
  /** Called once for each reason why a replacement is rejected; the last valid authorities stay in use. */
  onProblem(listener: (problem: string) => void): void;
  /** Looks for a replacement now. */
  reload(): void;
  close(): void;
}

export interface ClientAuthoritiesOptions {
  readonly path: string;
  readonly clock: Clock;
  /** how often the file is read again; default 10 s */
  readonly pollMs?: number;
}

/**
 * Authorities from a file that something else writes. It is read again by its content, because the kubelet swaps a symbolic
 * link.
 * @throws CertificateError if the file cannot be used at the start; later the last valid authorities stay in use
 */
export function clientAuthorities({ path, clock, pollMs = 10_000 }: ClientAuthoritiesOptions): ClientAuthorities {
  const changed: ((pem: string) => void)[] = [];
  const failed: ((problem: string) => void)[] = [];
  let current = readAuthorities(path, clock.now());
  let lastProblem = "";

  const reload = () => {
    try {
      const next = readAuthorities(path, clock.now());
      lastProblem = "";
      if (next === current) return;
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
    close: stop,
  };
}

function readAuthorities(path: string, now: number): string {
  const label = `--client-ca ${path}`;
  const blocks = read(path, label).match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0)
    throw new CertificateError(
      `${label} has no PEM certificate; give the certificate of the authority of the API server's client certificate`,
    );
  const ends = blocks.map((block, i) => {
    try {
      return Date.parse(new X509Certificate(block).validTo);
    } catch {
      throw new CertificateError(
        `Certificate ${i + 1} in ${label} is damaged and cannot be decoded; write the file again`,
      );
    }
  });
  const last = Math.max(...ends);
  if (last <= now)
    throw new CertificateError(
      `Every certificate in ${label} has expired, the last one on ${new Date(last).toISOString()}; put a renewed one there`,
    );
  return blocks.map(withNewline).join("");
}

function read(path: string, label: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new CertificateError(`${label} cannot be read (${code}); give the path of a PEM file`);
  }
}
