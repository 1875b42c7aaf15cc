import { once } from "node:events";
import { Command, InvalidArgumentError, Option } from "commander";
import packageJson from "../../package.json" with { type: "json" };
import { keptFieldsOf, kindsWithMore, rulesInForce } from "../custom-rules/in-force.ts";
import { rules } from "../rules/index.ts";
import { defaultStoredBytes } from "../admission/stored-size.ts";
import { pageOf } from "../config/rule-page.ts";
import { defaultNames } from "../controllers/permissions.ts";
import { everyAddress } from "../http/listen.ts";
import { allKinds } from "../kube/kinds.ts";
import type { ClusterConnection } from "../sources/cluster/connection.ts";
import { createLog, type Log, type LogLevel, logLevels } from "../telemetry/log.ts";
import { createMetrics, type Metrics } from "../telemetry/metrics.ts";
import { DocumentMemory } from "../sources/manifests/document-memory.ts";
import { treeSignatures } from "../sources/manifests/tree-signature.ts";
import { UsageError } from "../text/usage-error.ts";
import { systemClock } from "../tls/clock.ts";
import type { MeshStore } from "../view/store.ts";
import { auditPageOf } from "./serve/audit-page.ts";
import { auditReportsOption, type BackgroundAuditFlags } from "./serve/background-audit.ts";
import { clientCaOption, clientNameOption, type ClientOptions, clientsOf } from "./serve/client-options.ts";
import { clusterWord, contextOption, kubeconfigOption } from "./cluster-options.ts";
import { startElectedWork } from "./serve/elected-work.ts";
import { type FollowedMesh, type FollowedMeshOptions, followMesh } from "./serve/followed-mesh.ts";
import { type Controllers, startControllers, watchControllers } from "./serve/controllers.ts";
import { type FollowedPolicies, followPolicies } from "./followed-policies.ts";
import { keepMemorySmall, keepReviewsYoung } from "./serve/memory.ts";
import { clusterDomainOption, meshOption } from "./mesh-option.ts";
import { ownNamespace } from "./serve/own-namespace.ts";
import {
  docsUrlOption,
  policiesFromClusterOption,
  policiesOf,
  policiesOption,
  type PolicyOptions,
  profileOption,
  shownPolicies,
} from "./policy-options.ts";
import { titlesOf } from "./report-basis.ts";
import {
  type CertificateOptions,
  type ServingCertificates,
  servingCertificates,
} from "./serve/serving-certificates.ts";
import { shownError } from "./source-errors.ts";
import { byKeyboard, type ExitCode, type Terminal } from "./terminal.ts";
import { createWarmUp } from "./serve/warm-up.ts";
import { startWebhook } from "./webhook.ts";

export interface ServeOptions
  extends PolicyOptions,
    FollowedMeshOptions,
    CertificateOptions,
    ClientOptions,
    BackgroundAuditFlags {
  readonly namespace?: string;
  readonly auditPage?: boolean;
  readonly host?: string;
  readonly port: number;
  readonly opsPort: number;
  readonly logLevel: LogLevel;
  readonly drainSeconds: number;
  readonly reviewBudget: number;
  readonly objectLimit: number;
  readonly docsUrl: string;
}

export function serveCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return new Command("serve")
    .description("serve the admission webhook over TLS: POST /validate and POST /mutate")
    .addOption(meshOption("the mesh that changes are checked against").makeOptionMandatory())
    .addOption(kubeconfigOption())
    .addOption(contextOption())
    .option(
      "--max-staleness <seconds>",
      "if the API server has not been heard for this many seconds, findings based on cached data warn instead of deny",
      seconds,
      300,
    )
    .addOption(clusterDomainOption())
    .option("--host <address>", "address to listen on; by default every address, of IPv4 and IPv6")
    .option("--port <number>", "port of the webhook; 0 selects a free port", portNumber, 8443)
    .option("--ops-port <number>", "port of /livez, /readyz and /metrics, in plain HTTP", portNumber, 8080)
    .option("--tls-cert <file>", "PEM certificate, read again when it changes")
    .option("--tls-key <file>", "PEM key of --tls-cert")
    .option(
      "--self-signed",
      "create an authority and a certificate at every start, in the folder of --certs: for one computer; in a cluster give --tls-secret",
    )
    .option(
      "--tls-secret <name>",
      "Secret with a certificate authority that all replicas share; one of them creates it, renews it, and writes it into caBundle of the webhook configurations",
    )
    .option(
      "--service <name>",
      "Service through which the API server calls Meshward, for the certificate of --tls-secret",
    )
    .option(
      "--webhook-configuration <name>",
      "both webhook configurations whose caBundle --tls-secret keeps",
      defaultNames.webhookConfiguration,
    )
    .option(
      "--rotation-wait <seconds>",
      "how long API servers have to notice another caBundle before --tls-secret relies on it",
      seconds,
      600,
    )
    .option(
      "--tls-host <name...>",
      "additional names or IP addresses for the certificate of --self-signed or --tls-secret",
      [],
    )
    .option("--certs <folder>", "folder where --self-signed writes ca.crt, tls.crt and tls.key", "certs")
    .addOption(clientCaOption())
    .addOption(clientNameOption())
    .addOption(policiesOption())
    .addOption(policiesFromClusterOption())
    .addOption(profileOption())
    .addOption(new Option("--log-level <level>", "minimum log level").choices(logLevels).default("info"))
    .option(
      "--review-budget <milliseconds>",
      "CPU time that one review may use; a change that needs more is denied. Four times as much in the root namespace, ten times for mesh settings",
      milliseconds,
      500,
    )
    .option(
      "--object-limit <bytes>",
      "a larger object is denied, because the cluster cannot store it; for an etcd with a higher --max-request-bytes",
      bytes,
      defaultStoredBytes,
    )
    .option(
      "--namespace <name>",
      "Meshward's own namespace, with the Lease by which one replica is elected, and --tls-secret; default: that of the pod",
    )
    .option(
      "--audit-interval <seconds>",
      "how often the elected replica checks the whole mesh; changes are checked when they arrive; 0: never",
      auditSeconds,
      3_600,
    )
    .addOption(auditReportsOption())
    .option("--audit-page", "serve the page with what the background audit found at / of the operations port")
    .addOption(docsUrlOption())
    .option(
      "--drain-seconds <number>",
      "seconds to keep answering after SIGTERM; Ctrl-C in a terminal does not wait",
      seconds,
      10,
    )
    .action(async (options: ServeOptions) => finish(await serve(options, terminal)));
}

/** How long a denial waits for the API server to confirm its evidence, in milliseconds. */
const liveReadMs = 300;

/** Serves until the terminal asks to stop. Throws a UsageError, CertificateError or ListenError if it cannot start. */
export async function serve(options: ServeOptions, terminal: Terminal): Promise<ExitCode> {
  const log = createLog(options.logLevel, "stdout");
  const startCertificates = await servingCertificates(options, terminal, log);
  const clients = clientsOf(options);
  const inForce = await policiesAtStart(options);
  const closing: (() => Promise<void> | void)[] = [];
  keepReviewsYoung();
  try {
    const metrics = createMetrics({ processMetrics: true });
    let kept = keptFieldsOf(rulesInForce(rules, inForce.policies));
    const mesh = await followMesh(options, terminal, { log, metrics, keep: () => kept });
    closing.push(() => mesh.close());
    const { connection } = mesh;
    const namespace = ownNamespace(options.namespace);
    const controllers = startControllers({ connection, namespace, log });
    closing.push(() => controllers.close());
    const certificates = await startCertificates({ connection, namespace, election: controllers.election, metrics });
    closing.push(() => certificates.close());
    watchControllers(metrics, controllers, certificates.sample);
    const settings = () => mesh.current().settings;
    const following = { log, metrics, clock: systemClock, settings, cluster: sourceOf(options, connection) };
    const policies = followPolicies(options, inForce, following);
    closing.push(() => policies.close());
    mesh.give(policies.intents());
    policies.onChange(() => {
      mesh.give(policies.intents());
      const before = kept;
      kept = keptFieldsOf(rulesInForce(rules, policies.current()));
      mesh.cluster?.readAgain(kindsWithMore(before, kept));
    });
    terminal.onReload?.(() => {
      log.info({}, "reading policies and certificates again");
      policies.reload();
      certificates.source.reload?.();
      clients?.authorities.reload();
    });
    const running = { log, metrics, mesh, controllers, certificates, policies, clients };
    await answerReviews(options, terminal, running);
  } finally {
    for (const close of closing.reverse()) await close();
  }
  return 0;
}

interface Running {
  readonly log: Log;
  readonly metrics: Metrics;
  readonly mesh: FollowedMesh;
  readonly controllers: Controllers;
  readonly certificates: ServingCertificates;
  readonly policies: FollowedPolicies;
  readonly clients: ReturnType<typeof clientsOf>;
}

/** Opens the ports, answers until the terminal asks to stop, and drains. */
async function answerReviews(options: ServeOptions, terminal: Terminal, running: Running): Promise<void> {
  const { log, metrics, mesh, controllers, certificates, policies, clients } = running;
  const { cluster, connection } = mesh;
  const warmUp = createWarmUp();
  const auditPage = auditPageOf(mesh.current, options);
  const webhook = await startWebhook({
    mesh: mesh.current,
    checks: [...mesh.checks, ...policies.checks, warmUp.check, ...certificates.checks, ...controllers.checks],
    freshness: mesh.freshness,
    ...(cluster ? { readAgain: (evidence) => cluster.liveRead(evidence, liveReadMs), hold: () => cluster.hold() } : {}),
    reviewBudgetMs: options.reviewBudget,
    pageOf: (id) => pageOf(id, options.docsUrl),
    connection,
    policies: () => policies.current(),
    certificates: certificates.source,
    clients,
    log,
    metrics,
    host: options.host ?? everyAddress(),
    storedBytes: options.objectLimit,
    port: options.port,
    opsPort: options.opsPort,
    page: auditPage.html,
    limits: { drainDelayMs: options.drainSeconds * 1000 },
  });
  const elected = startElectedWork(options, {
    mesh,
    policies,
    tell: webhook.tell,
    reviews: webhook.reviews,
    found: auditPage.found,
    log,
    metrics,
    election: controllers.election,
  });
  let isStarted = false;
  let stopLooking = (): void => undefined;
  try {
    certificates.announce();
    const warmedUp = await warmUp.run({ now: () => performance.now(), stop: terminal.stop });
    if (warmedUp.error === undefined) log.debug(warmedUp, "warm-up finished");
    else log.warn(warmedUp, "warm-up did not finish");
    stopLooking = keepMemorySmall(() => mesh.checks.every((check) => check.problem() === undefined));
    const listening = { port: webhook.port, opsPort: webhook.opsPort, objects: objectsIn(mesh.current()) };
    log.info({ ...listening, ...inForceNow(policies, options) }, "serving");
    isStarted = true;
    void controllers.selfTest?.run();
    if (!terminal.stop.aborted) await once(terminal.stop, "abort");
    log.info({ drainSeconds: isHurried(terminal) ? 0 : options.drainSeconds }, "stopping");
    terminal.hint?.("Meshward stops when requests in flight are answered; press Ctrl-C again to stop immediately.\n");
  } finally {
    stopLooking();
    // Another replica leads at once, while this one still answers reviews.
    await Promise.all([
      elected.close().then(() => controllers.handOver()),
      webhook.close(isStarted && !isHurried(terminal) ? undefined : AbortSignal.abort()),
    ]);
  }
}

const sourceOf = ({ policiesFromCluster }: ServeOptions, connection: ClusterConnection | undefined) =>
  policiesFromCluster && connection !== undefined ? { connection } : undefined;

async function policiesAtStart(options: ServeOptions) {
  if (options.policiesFromCluster && options.mesh !== clusterWord)
    throw new UsageError(`--policies-from-cluster needs --mesh ${clusterWord}; give the files with --policies instead`);
  const { policies: paths } = options;
  const memory = new DocumentMemory();
  const files = paths === undefined ? undefined : { signature: await treeSignatures(paths), memory };
  const inForce = await policiesOf({ ...options, memory, isServer: true });
  if (inForce.errors.length > 0)
    throw new UsageError(
      `${shownPolicies(options)} has errors, correct them first:\n${inForce.errors.map((error) => `  ${shownError(error)}`).join("\n")}`,
    );
  return { ...inForce, files };
}

/** What decides about reviews. The namespaces of a cluster may not be known yet, so what protects them is logged. */
function inForceNow({ current, intents }: FollowedPolicies, { profile }: ServeOptions) {
  const policies = current();
  const protecting = policies.documents.flatMap(({ spec }) => spec.protectedNamespaces ?? []);
  return {
    version: packageJson.version,
    profile,
    policies: titlesOf(policies),
    exceptions: policies.exceptions.length,
    intents: intents().length,
    protectedNames: [...new Set(protecting.flatMap(({ names = [] }) => names))],
    protectedLabels: protecting.map(({ labels }) => labels).filter((labels) => labels !== undefined),
  };
}

const isHurried = ({ stop }: Terminal): boolean => stop.reason === byKeyboard;

const objectsIn = (mesh: MeshStore): number => allKinds.reduce((sum, kind) => sum + mesh.count(kind), 0);

function auditSeconds(text: string): number {
  const value = Number(text);
  if (/^\d{1,6}$/.test(text) && (value === 0 || value >= 10)) return value;
  throw new InvalidArgumentError("expected whole seconds, 10 to 999999, or 0.");
}

function portNumber(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= 65535) return port;
  throw new InvalidArgumentError("expected a port between 0 and 65535.");
}

function milliseconds(text: string): number {
  const value = Number(text);
  if (/^\d{1,5}$/.test(text) && value >= 10) return value;
  throw new InvalidArgumentError("expected whole milliseconds, 10 to 99999.");
}

function bytes(text: string): number {
  const value = Number(text);
  if (/^\d{1,8}$/.test(text) && value >= defaultStoredBytes) return value;
  throw new InvalidArgumentError(`expected whole bytes, ${defaultStoredBytes} to 99999999.`);
}

function seconds(text: string): number {
  if (/^\d{1,4}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("expected whole seconds, at most 9999.");
}
