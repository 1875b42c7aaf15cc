// A webhook with an audit that begins again whenever it is done, in a process of its own.

import { resting } from "../../src/cli/serve/background-audit.ts";
import { policiesOf } from "../../src/cli/policy-options.ts";
import { keepMemorySmall } from "../../src/cli/serve/memory.ts";
import { startWebhook } from "../../src/cli/webhook.ts";
import { auditInBackground, type AuditOutcome } from "../../src/controllers/background-audit.ts";
import { readAny } from "../../src/kube/object.ts";
import { rules } from "../../src/rules/index.ts";
import { indexesOfRules } from "../../src/cli/cluster-options.ts";
import { createLog } from "../../src/telemetry/log.ts";
import type { Certificate } from "../../src/tls/certificate-source.ts";
import { fixedCertificate } from "../../src/tls/self-signed.ts";
import { meshOf, type Raw, storedMesh } from "./mesh.ts";

export type AuditAsk =
  | { readonly certificate: Certificate; readonly objects: number }
  /** Audits everything so often. */
  | { readonly audits: number }
  /** Audits everything again and again until it is asked something else. */
  | "begin"
  | "end"
  /** Replaces an object, and answers when that was audited. */
  | { readonly change: Raw };
export interface AuditTold {
  readonly port?: number;
  /** CPU time of the process for what was asked, in milliseconds. */
  readonly cpuMs?: number;
  readonly findings?: number;
  readonly evaluations?: number;
  readonly heapMb?: number;
}

const { policies } = await policiesOf({ profile: "strict" });
let mesh = meshOf([]);
let abort: AbortController | undefined;
let reviews: () => number = () => 0;
let running: Promise<void> = Promise.resolve();

/** Time that passes as fast as the audits need it. */
const hurried = { now: () => performance.now(), random: () => 0.5, after };
function after(_delayMs: number, task: () => void): () => void {
  const timer = setTimeout(task, 1);
  return () => clearTimeout(timer);
}

function begin(intervalMs: number, done: (outcome: AuditOutcome) => void): void {
  const own = new AbortController();
  abort = own;
  running = auditInBackground(
    {
      mesh: () => mesh,
      isReady: () => true,
      policies: () => policies,
      rules,
      intervalMs,
      pace: hurried,
      pause: resting(reviews),
      log: createLog("silent", "stdout"),
      publish: (outcome) => Promise.resolve(done(outcome)),
    },
    own.signal,
  );
}

async function end(): Promise<void> {
  abort?.abort();
  await running;
}

const cpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
};

async function start(certificate: Certificate, objects: number): Promise<AuditTold> {
  mesh = meshOf(storedMesh(objects));
  for (const index of indexesOfRules) mesh.lookup(index, []);
  const webhook = await startWebhook({
    mesh: () => mesh,
    policies: () => policies,
    certificates: fixedCertificate(certificate),
    log: createLog("error", "stdout"),
    host: "127.0.0.1",
    port: 0,
  });
  reviews = webhook.reviews;
  keepMemorySmall(() => true);
  return { port: webhook.port };
}

/** The last of some audits, which V8 has compiled the code for. */
async function audits(count: number): Promise<AuditTold> {
  const { promise, resolve } = Promise.withResolvers<AuditTold>();
  let left = count;
  let startMs = cpuMs();
  begin(0, ({ rulings, evaluations }) => {
    const used = cpuMs() - startMs;
    startMs = cpuMs();
    if (--left === 0)
      resolve({
        cpuMs: used,
        findings: rulings.length,
        evaluations,
        heapMb: process.memoryUsage().heapUsed / 1e6,
      });
  });
  const told = await promise;
  await end();
  return told;
}

async function change(raw: Raw): Promise<AuditTold> {
  const started = Promise.withResolvers<void>();
  const changed = Promise.withResolvers<AuditTold>();
  let startMs = 0;
  begin(3_600_000, ({ trigger, evaluations }) => {
    if (trigger === "start") started.resolve();
    else changed.resolve({ cpuMs: cpuMs() - startMs, evaluations });
  });
  await started.promise;
  startMs = cpuMs();
  const object = readAny(raw);
  if (object !== undefined) mesh.set(object);
  const told = await changed.promise;
  await end();
  return told;
}

async function told(ask: AuditAsk): Promise<AuditTold> {
  if (ask === "begin") begin(0, () => undefined);
  else if (ask === "end") await end();
  else if ("audits" in ask) return audits(ask.audits);
  else if ("change" in ask) return change(ask.change);
  else return start(ask.certificate, ask.objects);
  return {};
}

process.on("message", (ask: AuditAsk) => void told(ask).then((answer) => process.send?.(answer)));
process.on("disconnect", () => process.exit());
