import type { X509Certificate } from "node:crypto";
import { ClusterError, requestError } from "../sources/cluster/cluster-error.ts";
import type { ClusterConnection } from "../sources/cluster/connection.ts";
import type { Pace } from "../sources/cluster/pace.ts";
import type { Log } from "../telemetry/log.ts";
import { type Authority, certificatesIn, newAuthority } from "../tls/authority.ts";
import { CertificateError } from "../tls/certificate-source.ts";
import type { Clock } from "../tls/clock.ts";
import { certificateIn } from "../tls/read-certificates.ts";
import { type AuthorityState, bundleFor, nextStep, phaseOf } from "../tls/rotation.ts";
import { requestIn, secretOf, secrets, stateIn } from "./authority-secret.ts";
import type { CaBundle } from "./ca-bundle.ts";
import { FollowedObjects } from "./followed-objects.ts";
import { type KubeObject, ObjectClient, type ObjectName, type Resource } from "./objects.ts";
import type { WebhookConfigurations } from "./webhook-configurations.ts";

export interface CertificateAuthorityOptions {
  readonly connection: ClusterConnection;
  readonly secret: ObjectName & { readonly namespace: string };
  readonly leading: () => boolean;
  readonly configurations: WebhookConfigurations;
  readonly caBundle: CaBundle;
  readonly clock: Clock;
  readonly log: Log;
  /** How long clients are given to notice another caBundle, in milliseconds. */
  readonly settleMs: number;
  /** Called with the authority that issues certificates now, on every replica. */
  readonly issuedBy: (issuer: Authority) => void;
  readonly pace?: Pace;
}

const namespaces: Resource = { group: "", version: "v1", kind: "Namespace", plural: "namespaces", namespaced: false };

const lookMs = 1_000;
/** How long the watch may take to bring what was written. */
const echoMs = 5_000;

/**
 * The certificate authority in a Secret. Every replica follows it; the elected one creates it, rotates it, restores it from
 * memory when someone damages it, and writes what clients have to trust into caBundle.
 */
export class CertificateAuthority {
  readonly #options: CertificateAuthorityOptions;
  readonly #client: ObjectClient;
  readonly #secret: FollowedObjects;
  readonly #stop: () => void;
  /** The last valid state, of which this and other replicas serve certificates. */
  #state: AuthorityState | undefined;
  #problem: string | undefined = notRead;
  #writeProblem: string | undefined;
  /** The last attempt to write, and the version of the Secret that it was based on. */
  #attempt: { readonly over: string; readonly atMs: number } | undefined;
  #cluster: { readonly uid: string | undefined } | undefined;
  #hasAdopted = false;
  #working: Promise<void> | undefined;
  #isAgain = false;
  #isClosed = false;

  constructor(options: CertificateAuthorityOptions) {
    const { connection, secret, clock, pace } = options;
    this.#options = options;
    this.#client = new ObjectClient(connection, secrets);
    this.#secret = new FollowedObjects({
      connection,
      resource: secrets,
      ...secret,
      changed: () => void this.look(),
      ...(pace === undefined ? {} : { pace }),
    });
    this.#stop = clock.every(lookMs, () => void this.look());
  }

  /** Where the rotation stands; undefined while there is no valid state. */
  get state(): AuthorityState | undefined {
    return this.#state;
  }

  /** Why the Secret cannot be used at present; the last valid authority stays in use. */
  get problem(): string | undefined {
    return this.#problem ?? this.#writeProblem;
  }

  /** Does what is to be done now; called after each change. Never rejects. */
  look(): Promise<void> {
    this.#isAgain = !this.#isClosed;
    this.#working ??= this.#workOff().finally(() => {
      this.#working = undefined;
    });
    return this.#working;
  }

  async #workOff(): Promise<void> {
    while (this.#isAgain) {
      this.#isAgain = false;
      await this.#work();
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#isAgain = false;
    this.#stop();
    await this.#secret.close();
    await this.#working;
  }

  async #work(): Promise<void> {
    const { status, problem } = this.#secret.state;
    if (status !== "synced") {
      this.#become(problem ?? notRead);
      return;
    }
    const secret = this.#secret.get(this.#options.secret);
    const found = readState(secret);
    const isLeading = this.#options.leading();
    if (this.#isWaiting(secret)) {
      if (isLeading && this.#state !== undefined) await this.#keepTrust(this.#state);
      return;
    }
    if (typeof found === "string") this.#become(this.#state === undefined ? found : `${found}; ${lastOne}`);
    else if (!isLeading) this.#accept(found);
    if (isLeading) await this.#lead(secret, found);
  }

  /** Whether the watch has brought nothing since the last attempt, so that another one would fail or repeat it. */
  #isWaiting(secret: KubeObject | undefined): boolean {
    if (this.#attempt === undefined) return false;
    const { over, atMs } = this.#attempt;
    if (over === versionOf(secret) && Math.abs(this.#options.clock.now() - atMs) < echoMs) return true;
    this.#attempt = undefined;
    return false;
  }

  async #lead(secret: KubeObject | undefined, found: AuthorityState | string): Promise<void> {
    // A replica that has just started does not know yet what the others may serve.
    if (this.#state === undefined && this.#options.configurations.isLoading) return;
    try {
      await this.#readCluster();
      await (typeof found === "string" ? this.#restore(secret) : this.#advance(secret, found));
    } catch (error) {
      const { fault, message } = requestError("the API server", error);
      // Somebody else was faster; the watch brings what they wrote.
      if (fault !== "conflict" && fault !== "exists") this.#becomeUnwritable(message);
    }
  }

  async #restore(secret: KubeObject | undefined): Promise<void> {
    if (this.#state === undefined) {
      await this.#write(secret, await this.#created(), "a certificate authority was created");
      return;
    }
    await this.#keepTrust(this.#state);
    await this.#write(secret, this.#state, "the Secret was restored from memory");
  }

  async #advance(secret: KubeObject | undefined, found: AuthorityState): Promise<void> {
    const state = this.#withServed(found);
    await this.#keepTrust(state);
    if (state !== found) {
      await this.#write(secret, state, "authorities whose certificates may still be served stay trusted");
      return;
    }
    this.#accept(found);
    await this.#step(secret, found);
  }

  async #step(secret: KubeObject | undefined, state: AuthorityState): Promise<void> {
    const { configurations, clock, settleMs } = this.#options;
    const step = await nextStep(state, {
      now: clock.now(),
      trust: (pem) => configurations.trust(pem),
      request: requestIn(secret),
      cluster: this.#cluster?.uid,
      settleMs,
      spare: () => newAuthority(clock.now()),
    });
    if (step === undefined) this.#writeProblem = undefined;
    else await this.#write(secret, step.state, step.done);
  }

  async #keepTrust(state: AuthorityState): Promise<void> {
    const { caBundle, configurations } = this.#options;
    await caBundle.keep(configurations.found(), bundleFor(state));
  }

  async #write(over: KubeObject | undefined, state: AuthorityState, done: string): Promise<void> {
    const { clock, log, secret } = this.#options;
    this.#attempt = { over: versionOf(over), atMs: clock.now() };
    const generation = Math.max(state.generation ?? 0, this.#state?.generation ?? 0) + 1;
    const next = { ...state, generation };
    const written = secretOf(next, secret, over);
    await (over === undefined ? this.#client.create(written) : this.#client.replace(written));
    this.#writeProblem = undefined;
    log.info({ phase: phaseOf(state), authority: certificateIn(state.issuer.cert).subject }, done);
    this.#accept(next);
  }

  /** The state, if it lacks the authority of certificates that are still served, with that one as a former authority. */
  #withServed(found: AuthorityState): AuthorityState {
    const now = this.#options.clock.now();
    const known = new Set(certificatesIn(bundleFor(found)).map(({ fingerprint256 }) => fingerprint256));
    const missing = this.#servedBeside(found).filter(
      ({ fingerprint256, validTo }) => !known.has(fingerprint256) && Date.parse(validTo) > now,
    );
    if (missing.length === 0) return found;
    return { ...found, previous: [...missing.map(String), ...found.previous], switchedAt: now };
  }

  /**
   * What other replicas may serve certificates of: the authorities of the last state. A replica that has just started
   * knows none, and takes what the API server trusts, once, if that is not the authority of the Secret.
   */
  #servedBeside(found: AuthorityState): readonly X509Certificate[] {
    if (this.#state !== undefined)
      // What the leader before this one has written is newer than what this one remembers.
      return (found.generation ?? 0) > (this.#state.generation ?? 0)
        ? []
        : [this.#state.issuer.cert, ...this.#state.previous].map((pem) => certificateIn(pem));
    const { configurations } = this.#options;
    if (this.#hasAdopted || configurations.problem !== undefined) return [];
    this.#hasAdopted = true;
    return configurations.trust(found.issuer.cert) === "some" ? this.#trustedNow() : [];
  }

  /** The authorities that the API server trusts at present, whoever made them. */
  #trustedNow(): readonly X509Certificate[] {
    const bundles = this.#options.configurations
      .found()
      .flatMap(({ entries }) => entries.map(({ caBundle }) => caBundle));
    const now = this.#options.clock.now();
    return certificatesIn(bundles.join("\n")).filter(({ ca, validTo }) => ca && Date.parse(validTo) > now);
  }

  async #created(): Promise<AuthorityState> {
    const now = this.#options.clock.now();
    const uid = this.#cluster?.uid;
    const previous = this.#trustedNow().map(String);
    const origin = uid === undefined ? {} : { cluster: uid };
    return { issuer: await newAuthority(now), previous, switchedAt: now, ...origin };
  }

  /** The uid of kube-system tells clusters apart; without the permission, a copied authority is not noticed. */
  async #readCluster(): Promise<void> {
    if (this.#cluster !== undefined) return;
    try {
      const { metadata } = await new ObjectClient(this.#options.connection, namespaces).get({ name: "kube-system" });
      this.#cluster = { uid: metadata.uid };
    } catch (error) {
      if (error instanceof ClusterError && error.fault === "forbidden") this.#cluster = { uid: undefined };
    }
  }

  #accept(state: AuthorityState): void {
    this.#state = state;
    this.#become(undefined);
    this.#options.issuedBy(state.issuer);
  }

  /** Each problem is logged once. */
  #become(problem: string | undefined): void {
    const hasChanged = problem !== this.#problem;
    this.#problem = problem;
    if (!hasChanged || problem === notRead) return;
    if (problem === undefined) this.#options.log.info(this.#fields, "the Secret of the certificate authority is valid");
    else
      this.#options.log.error({ ...this.#fields, problem }, "the Secret of the certificate authority cannot be used");
  }

  #becomeUnwritable(problem: string): void {
    if (problem !== this.#writeProblem)
      this.#options.log.error(
        { ...this.#fields, problem },
        "the Secret of the certificate authority cannot be written",
      );
    this.#writeProblem = problem;
  }

  get #fields(): { readonly secret: string } {
    const { namespace, name } = this.#options.secret;
    return { secret: `${namespace}/${name}` };
  }
}

const notRead = "the Secret was not read yet";
const lastOne = "the last valid authority stays in use";

/** Decoding keys takes a while, and the same Secret is looked at every second. */
const known = new WeakMap<KubeObject, AuthorityState | string>();

/** The state in the Secret, or why there is none. */
function readState(secret: KubeObject | undefined): AuthorityState | string {
  if (secret === undefined) return "the Secret does not exist";
  const state = known.get(secret) ?? decodedState(secret);
  known.set(secret, state);
  return state;
}

function decodedState(secret: KubeObject): AuthorityState | string {
  try {
    return stateIn(secret);
  } catch (error) {
    if (error instanceof CertificateError) return `the Secret is damaged: ${error.message}`;
    throw error;
  }
}

const versionOf = (secret: KubeObject | undefined): string => secret?.metadata.resourceVersion ?? "";
