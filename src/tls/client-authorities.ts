import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { CertificateError, withNewline } from "./certificate-source.ts";
import type { Clock } from "./clock.ts";
import { type PolledContent, polledContent } from "./polled-content.ts";

/** The authorities whose certificates a client has to present, as PEM. */
export type ClientAuthorities = PolledContent<string>;

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
export const clientAuthorities = ({ path, clock, pollMs = 10_000 }: ClientAuthoritiesOptions): ClientAuthorities =>
  polledContent({ read: () => readAuthorities(path, clock.now()), isSame: (a, b) => a === b, clock, pollMs });

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
