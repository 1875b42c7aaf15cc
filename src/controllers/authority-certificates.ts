import type { Log } from "../telemetry/log.ts";
import { type Authority, isDue, issue, leafLifeMs, newAuthority } from "../tls/authority.ts";
import type { Certificate, CertificateSource } from "../tls/certificate-source.ts";
import type { Clock } from "../tls/clock.ts";
import { certificateIn } from "../tls/read-certificates.ts";
import { observedMs, type Trust } from "../tls/rotation.ts";

export interface AuthorityCertificatesOptions {
  /** DNS names and IP addresses under which the API server calls this server. */
  readonly names: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
  /** How far the API server is known to trust an authority. */
  readonly trust: (pem: string) => Trust;
  /** How long to wait for an authority when it cannot be seen whether the API server trusts it. */
  readonly settleMs: number;
  /** 0 to 1: replicas renew their certificates at different times. */
  readonly random: number;
}

const lookMs = 1_000;
/** Replicas renew their certificates within this time, one after the other. */
const spreadMs = leafLifeMs / 14;

/**
 * The certificate of one replica, issued in memory by the authority that all replicas share. A certificate of another
 * authority is served only when the API server has trusted that authority for a while, or when the present one is useless.
 */
export class AuthorityCertificates implements CertificateSource {
  readonly #options: AuthorityCertificatesOptions;
  readonly #changed: ((certificate: Certificate) => void)[] = [];
  readonly #failed: ((problem: string) => void)[] = [];
  readonly #stop: () => void;
  #current: Certificate;
  /** The authority of `current`; undefined while that is provisional. */
  #issuer: Authority | undefined;
  /** The authority that should issue the certificate. */
  #wanted: { readonly authority: Authority; readonly seenMs: number; trustedMs?: number } | undefined;
  #hasBeenTrusted = false;
  #looking: Promise<void> | undefined;

  private constructor(options: AuthorityCertificatesOptions, provisional: Certificate) {
    this.#options = options;
    this.#current = provisional;
    this.#stop = options.clock.every(lookMs, () => void this.look());
  }

  /**
   * Starts with a certificate that nobody trusts, so that the server can listen, answer probes and say what it waits for.
   * @throws CertificateError if a name cannot be in a certificate
   */
  static async start(options: AuthorityCertificatesOptions): Promise<AuthorityCertificates> {
    const now = options.clock.now();
    return new AuthorityCertificates(options, await issue(await newAuthority(now), options.names, now));
  }

  current(): Certificate {
    return this.#current;
  }

  onChange(listener: (certificate: Certificate) => void): void {
    this.#changed.push(listener);
  }

  onProblem(listener: (problem: string) => void): void {
    this.#failed.push(listener);
  }

  /**
   * A server that was trusted once stays ready when someone empties caBundle: all replicas would leave the Service together,
   * and their caBundle is repaired within a moment.
   */
  problem(): string | undefined {
    if (this.#issuer === undefined)
      return "the Secret has no certificate authority yet; the elected replica creates one";
    if (this.#hasBeenTrusted || this.#options.trust(this.#issuer.cert) !== "some") return undefined;
    return "caBundle of the webhook configurations does not have this server's authority yet; the elected replica writes it";
  }

  /** The authority that the replicas share now. */
  offer(authority: Authority): Promise<void> {
    if (this.#wanted?.authority.cert !== authority.cert)
      this.#wanted = { authority, seenMs: this.#options.clock.now() };
    return this.look();
  }

  /** Issues another certificate if there should be one. Never rejects. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  reload(): void {
    void this.look();
  }

  close(): void {
    this.#stop();
  }

  async #look(): Promise<void> {
    if (this.#issuer !== undefined && this.#options.trust(this.#issuer.cert) === "all") this.#hasBeenTrusted = true;
    const issuer = this.#issuerOfNext();
    if (issuer === undefined) return;
    const { clock, names, log } = this.#options;
    try {
      const next = await issue(issuer, names, clock.now());
      const authority = certificateIn(issuer.cert).subject;
      log.info({ authority, notAfter: new Date(next.notAfter).toISOString() }, "certificate was issued");
      this.#current = next;
      this.#issuer = issuer;
      for (const listener of this.#changed) listener(next);
    } catch (error) {
      for (const listener of this.#failed) listener(error instanceof Error ? error.message : String(error));
    }
  }

  /** The authority that should issue another certificate now; undefined if the present one stays. */
  #issuerOfNext(): Authority | undefined {
    const now = this.#options.clock.now();
    const wanted = this.#wanted;
    const isUsable = ({ cert }: Authority) => Date.parse(certificateIn(cert).validTo) > now;
    const isOther = wanted !== undefined && wanted.authority.cert !== this.#issuer?.cert;
    if (isOther && isUsable(wanted.authority) && this.#mayMove(wanted, now)) return wanted.authority;
    const isRenewal = this.#issuer !== undefined && isUsable(this.#issuer);
    return isRenewal && isDue(certificateIn(this.#current.cert), now, this.#options.random * spreadMs)
      ? this.#issuer
      : undefined;
  }

  #mayMove(
    wanted: { readonly authority: Authority; readonly seenMs: number; trustedMs?: number },
    now: number,
  ): boolean {
    const trust = this.#options.trust(wanted.authority.cert);
    if (trust !== "all") delete wanted.trustedMs;
    // A clock that was set back begins the wait anew.
    else if (wanted.trustedMs === undefined || wanted.trustedMs > now) wanted.trustedMs = now;
    if (this.#issuer === undefined || this.#current.notAfter <= now) return true;
    if (wanted.trustedMs !== undefined) return now - wanted.trustedMs >= observedMs;
    return trust === "unknown" && Math.abs(now - wanted.seenMs) >= this.#options.settleMs;
  }
}
