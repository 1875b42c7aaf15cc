import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import type { TestContext } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { AuthorityCertificates } from "../../src/controllers/authority-certificates.ts";
import { stateIn } from "../../src/controllers/authority-secret.ts";
import { CaBundle } from "../../src/controllers/ca-bundle.ts";
import { CertificateAuthority } from "../../src/controllers/certificate-authority.ts";
import type { KubeObject } from "../../src/controllers/objects.ts";
import { WebhookConfigurations } from "../../src/controllers/webhook-configurations.ts";
import { createLog } from "../../src/telemetry/log.ts";
import { certificatesIn } from "../../src/tls/authority.ts";
import type { Clock } from "../../src/tls/clock.ts";
import { type AuthorityState, phaseOf } from "../../src/tls/rotation.ts";
import { MemoryCluster, type Raw, type SeenRequest } from "./memory-cluster.ts";

export const secretKey = "secrets/meshward-system/meshward-tls";
export const configurationKeys = [
  "validatingwebhookconfigurations//meshward",
  "mutatingwebhookconfigurations//meshward",
] as const;
export const [hour, day, settleMs] = [3_600_000, 86_400_000, 600_000] as const;
export const start = Date.parse("2026-11-26T10:00:00Z");

export const isWrite = ({ verb }: SeenRequest): boolean => ["create", "update", "patch", "delete"].includes(verb);

/** The wall clock of one replica. */
export class FakeClock implements Clock {
  time: number;
  readonly #tasks = new Set<() => void>();
  constructor(time: number) {
    this.time = time;
  }
  now(): number {
    return this.time;
  }
  every(_periodMs: number, task: () => void): () => void {
    this.#tasks.add(task);
    return () => void this.#tasks.delete(task);
  }
  tick(): void {
    for (const task of [...this.#tasks]) task();
  }
}

export interface Replica {
  readonly name: string;
  readonly clock: FakeClock;
  readonly authority: CertificateAuthority;
  readonly source: AuthorityCertificates;
  readonly caBundle: CaBundle;
  readonly lines: Raw[];
  isDead: boolean;
  /** Its certificate is one that the API server has trusted, from then on it has to stay so. */
  isServing: boolean;
}

export interface JoinOptions {
  /** Throws before a request of this replica. */
  readonly fail?: (request: SeenRequest) => void;
  /** Throws after a request of this replica was fulfilled. */
  readonly failAfter?: (request: SeenRequest) => void;
}

/**
 * Replicas with clocks of their own, an API server, and one leader that the test names. After every change of an object and
 * every certificate, each replica's certificate is verified against caBundle of the moment, and of `lagMs` ago.
 */
export class World {
  readonly cluster = new MemoryCluster();
  readonly replicas: Replica[] = [];
  leader: string | undefined;
  /** Whether a replica believes that it leads. */
  leads: (name: string) => boolean = (name) => this.leader === name;
  time = start;
  /** How long replicas give the API server to notice another caBundle. */
  settleMs: number = settleMs;
  /** Failed reviews. */
  readonly failures: string[] = [];
  verifications = 0;
  readonly #bundles: { readonly at: number; readonly pem: string }[] = [];

  constructor(context: TestContext) {
    this.cluster.put("namespaces//kube-system", { metadata: { uid: "this-cluster" } });
    this.cluster.changed = () => this.verify();
    context.after(async () => {
      for (const close of this.#closing.reverse()) await close();
      context.diagnostic(`${this.verifications} handshakes with a replica, failed: ${this.failures.length}`);
    });
  }

  /** Registers the webhooks, as an installer does: without caBundle. */
  install(): void {
    const webhook = (name: string) => ({
      name,
      clientConfig: { service: { name: "meshward" } },
      failurePolicy: "Fail",
    });
    const [validating, mutating] = configurationKeys;
    const theirs = { name: "somebody.else.example.com", clientConfig: { caBundle: "dGhlaXJz" } };
    this.cluster.put(validating, {
      webhooks: [webhook("mesh.validate.meshward.io"), theirs, webhook("namespaces.validate.meshward.io")],
    });
    this.cluster.put(mutating, { webhooks: [webhook("enrollment.mutate.meshward.io")] });
  }

  async join(
    name: string,
    { fail = () => undefined, failAfter = () => undefined }: JoinOptions = {},
  ): Promise<Replica> {
    const clock = new FakeClock(this.time);
    const lines: Raw[] = [];
    const log = createLog("debug", (line) => void lines.push(JSON.parse(line) as Raw));
    const whenAlive = (check: (request: SeenRequest) => void) => (request: SeenRequest) => {
      if (this.replicas.find((one) => one.name === name)?.isDead) throw new Error(`${name} is dead`);
      check(request);
    };
    const connection = this.cluster.connect(whenAlive(fail), whenAlive(failAfter));
    let look = (): void => undefined;
    const configurations = new WebhookConfigurations({ connection, name: "meshward", log, changed: () => look() });
    this.#closing.push(() => configurations.close());
    const parts = { clock, log, settleMs: this.settleMs };
    const trust = (pem: string) => configurations.trust(pem);
    const source = await AuthorityCertificates.start({
      ...parts,
      names: ["meshward.meshward-system.svc"],
      trust,
      random: 0.5,
    });
    const repaired = () => void lines.push({ msg: "repaired" });
    const caBundle = new CaBundle({ log, now: () => clock.now(), repaired });
    const authority = new CertificateAuthority({
      ...parts,
      connection,
      configurations,
      caBundle,
      secret: { namespace: "meshward-system", name: "meshward-tls" },
      leading: () => this.leads(name),
      issuedBy: (issuer) => void source.offer(issuer),
    });
    look = () => {
      void authority.look();
      void source.look();
    };
    this.#closing.push(() => authority.close());
    this.#closing.push(() => source.close());
    const replica: Replica = { name, clock, authority, source, caBundle, lines, isDead: false, isServing: false };
    source.onChange(() => this.verify());
    this.replicas.push(replica);
    return replica;
  }
  readonly #closing: (() => Promise<void> | void)[] = [];

  get alive(): readonly Replica[] {
    return this.replicas.filter(({ isDead }) => !isDead);
  }
  kill(name: string): void {
    for (const replica of this.replicas) if (replica.name === name) replica.isDead = true;
    if (this.leader === name) this.leader = undefined;
  }
  lead(name: string): void {
    this.leader = name;
    for (const replica of this.alive) void replica.authority.look();
  }

  /** Lets time pass at once for everybody, as for a machine that was suspended, and what it sets off happen. */
  async pass(ms: number): Promise<void> {
    this.time += ms;
    for (const { clock } of this.alive) {
      clock.time += ms;
      clock.tick();
    }
    await this.settle();
    this.verify();
  }
  /** In small steps, as time passes. */
  async live(ms: number, stepMs: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += stepMs) await this.pass(stepMs);
  }
  /** Waits until nobody does anything any more. */
  async settle(): Promise<void> {
    const counts = () => this.cluster.requests.length + this.replicas.reduce((sum, { lines }) => sum + lines.length, 0);
    for (let quiet = 0, before = counts(); quiet < 3; ) {
      await Promise.all(this.replicas.flatMap(({ authority, source }) => [authority.look(), source.look()]));
      await nextTurn();
      quiet = counts() === before ? quiet + 1 : 0;
      before = counts();
    }
  }

  state(): AuthorityState | undefined {
    const secret = this.cluster.get(secretKey);
    try {
      return secret === undefined ? undefined : stateIn(secret as KubeObject);
    } catch {
      return undefined;
    }
  }
  get phase(): string {
    const state = this.state();
    return state === undefined ? "none" : phaseOf(state);
  }
  /** Subjects of what caBundle of each of Meshward's webhooks has, which must be the same. */
  trusted(): readonly string[] {
    const bundles = this.bundles();
    for (const bundle of bundles) assert.equal(bundle, bundles[0], "the webhooks do not trust the same");
    return certificatesIn(bundles[0] ?? "").map(({ subject }) => subject);
  }
  bundles(): readonly string[] {
    const own = configurationKeys.flatMap((key) => (this.cluster.get(key)?.["webhooks"] ?? []) as Raw[]);
    return own
      .filter(({ name }) => String(name).endsWith(".meshward.io"))
      .map(({ clientConfig }) => Buffer.from(String(clientConfig.caBundle ?? ""), "base64").toString());
  }
  /** What an API server that is `lagMs` behind still trusts. */
  lagMs = 0;

  /** Whether reviews succeed now: counted once a replica has been trusted, until the test says what it expects to fail. */
  isExcused = false;
  verify(): void {
    const bundles = this.bundles();
    const pem = bundles.join("\n");
    if (this.#bundles.at(-1)?.pem !== pem) this.#bundles.push({ at: this.time, pem });
    for (const replica of this.alive) {
      const leaf = parsed(replica.source.current().cert);
      const isTrusted = bundles.length > 0 && bundles.every((one) => leaf.isTrusted(one, this.time));
      this.verifications++;
      replica.isServing ||= isTrusted;
      if (!replica.isServing || this.isExcused) continue;
      const what = `${new Date(this.time).toISOString()}: ${replica.name} serves ${leaf.issuer} until ${leaf.validTo}`;
      if (!isTrusted) this.failures.push(`${what}, trusted is ${shown(pem)}`);
      else if (!this.#isTrustedLate(leaf)) this.failures.push(`${what}, too early`);
    }
  }

  /** Whether an API server that lags behind accepts it. */
  #isTrustedLate(leaf: Leaf): boolean {
    const lagging = this.#bundles.findLast(({ at }) => at <= this.time - this.lagMs)?.pem;
    return lagging === undefined || leaf.isTrusted(lagging, this.time);
  }
}

const shown = (pem: string): string =>
  certificatesIn(pem)
    .map(({ subject }) => subject)
    .join(", "); // prettier-ignore

const leaves = new Map<string, Leaf>();
/** A test verifies the same few certificates thousands of times, and to parse one costs more than all else that it does. */
function parsed(pem: string): Leaf {
  const leaf = leaves.get(pem) ?? new Leaf(new X509Certificate(pem));
  leaves.set(pem, leaf);
  return leaf;
}

/** A server's certificate, verified as Go's crypto/x509 does it for a chain of two, with what never changes about it: when it is valid, and which certificates of a bundle signed it. */
class Leaf {
  readonly issuer: string;
  readonly validTo: string;
  readonly #certificate: X509Certificate;
  readonly #isValid: (now: number) => boolean;
  readonly #signers = new Map<string, readonly ((now: number) => boolean)[]>();

  constructor(certificate: X509Certificate) {
    this.#certificate = certificate;
    this.#isValid = validity(certificate);
    this.issuer = certificate.issuer;
    this.validTo = certificate.validTo;
  }

  /** Whether the certificate, and one of the bundle that signed it, are valid at this time. */
  isTrusted(bundle: string, now: number): boolean {
    const signers = this.#signers.get(bundle) ?? this.#signersIn(bundle);
    this.#signers.set(bundle, signers);
    return this.#isValid(now) && signers.some((isValid) => isValid(now));
  }
  #signersIn(bundle: string): readonly ((now: number) => boolean)[] {
    const signed = (ca: X509Certificate) => this.#certificate.checkIssued(ca) && this.#certificate.verify(ca.publicKey);
    return certificatesIn(bundle).filter(signed).map(validity);
  }
}

function validity({ validFrom, validTo }: X509Certificate): (now: number) => boolean {
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)];
  return (now) => from <= now && now < to;
}
