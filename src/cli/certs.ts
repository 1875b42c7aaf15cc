import { X509Certificate } from "node:crypto";
import { Command, Option } from "commander";
import { requestIn, rotateAnnotation, secrets, stateIn } from "../controllers/authority-secret.ts";
import { leases } from "../controllers/election.ts";
import { type KubeObject, ObjectClient, type ObjectName } from "../controllers/objects.ts";
import { defaultNames } from "../controllers/permissions.ts";
import { configurationKinds, entriesIn } from "../controllers/webhook-configurations.ts";
import { member } from "../kube/read.ts";
import { ClusterError } from "../sources/cluster/cluster-error.ts";
import type { ClusterConnection } from "../sources/cluster/connection.ts";
import { UsageError } from "../text/usage-error.ts";
import { certificatesIn } from "../tls/authority.ts";
import { CertificateError } from "../tls/certificate-source.ts";
import { type AuthorityState, bundleFor, phaseOf } from "../tls/rotation.ts";
import { type ClusterOptions, contextOption, kubeconfigOption, withCluster } from "./cluster-options.ts";
import type { ExitCode, Terminal } from "./terminal.ts";

interface CertsOptions extends ClusterOptions {
  readonly namespace: string;
  readonly tlsSecret: string;
  readonly webhookConfiguration: string;
}
interface ShowOptions extends CertsOptions {
  readonly output: "text" | "json";
}
interface RotateOptions extends CertsOptions {
  readonly distrustPrevious?: boolean;
}

export function certsCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  const command = new Command("certs").description(
    "show or rotate the certificate authority that serve --tls-secret keeps in a cluster",
  );
  const withOptions = (name: string, description: string) =>
    command
      .command(name)
      .description(description)
      .addOption(kubeconfigOption())
      .addOption(contextOption())
      .option("--namespace <name>", "Meshward's namespace", "meshward-system")
      .option("--tls-secret <name>", "the Secret of serve --tls-secret", defaultNames.secret)
      .option("--webhook-configuration <name>", "both webhook configurations", defaultNames.webhookConfiguration);
  withOptions("show", "print authorities, their dates, the phase of a rotation, and whether caBundle has them")
    .addOption(new Option("--output <format>", "text or json").choices(["text", "json"]).default("text"))
    .action(async (options: ShowOptions) => finish(await show(options, terminal)));
  withOptions("rotate", "ask the elected replica for a new authority; servers go on answering meanwhile")
    .option(
      "--distrust-previous",
      "take the former authority out of caBundle as soon as servers have left it, because its key may be known",
    )
    .action(async (options: RotateOptions) => finish(await rotate(options, terminal)));
  return command;
}

/** One authority, without its key. */
interface ShownAuthority {
  /** The one that issues certificates now, the next one, or a former one that is still trusted. */
  readonly role: "next" | "issuer" | "former";
  /** The subject of its certificate. */
  readonly subject: string;
  /** The SHA-256 fingerprint of its certificate. */
  readonly fingerprint: string;
  /** When its certificate begins to be valid, in RFC 3339. */
  readonly notBefore: string;
  /** When its certificate expires, in RFC 3339. */
  readonly notAfter: string;
}
/** Whether caBundle of one webhook has the same authorities as the Secret. */
interface ShownBundle {
  /** The kind of the webhook configuration. */
  readonly configuration: string;
  /** The name of the webhook. */
  readonly webhook: string;
  /** What the API server trusts, compared with the Secret. */
  readonly state: "same" | "empty" | "without the issuer" | "other authorities";
}
/** The authorities of a Meshward in a cluster. */
interface ShownAuthorities {
  /** The Secret, as `namespace/name`. */
  readonly secret: string;
  /** The phase of a rotation, in words. */
  readonly phase: string;
  /** The replica that renews and repairs; absent: none does. */
  readonly leader?: string | undefined;
  /** The authorities of the Secret. */
  readonly authorities: readonly ShownAuthority[];
  /** The webhooks of both configurations. */
  readonly bundles: readonly ShownBundle[];
  /** What somebody has to do something about. */
  readonly problems: readonly string[];
}

/** Exit code 1 if something is wrong. */
async function show(options: ShowOptions, terminal: Terminal): Promise<ExitCode> {
  const shown = await withCluster(options, terminal, (connection) => lookUp(options, connection));
  terminal.out(options.output === "json" ? `${JSON.stringify(shown, undefined, 2)}\n` : textOf(shown));
  return shown.problems.length > 0 ? 1 : 0;
}

async function lookUp(options: CertsOptions, connection: ClusterConnection): Promise<ShownAuthorities> {
  const at = { namespace: options.namespace, name: options.tlsSecret };
  const state = readState(await secretAt(at, connection), at);
  const lease = await orNothing(new ObjectClient(connection, leases).get({ ...at, name: defaultNames.lease }));
  const holder = member(lease?.["spec"], "holderIdentity");
  const bundles = await shownBundles(options, connection, state);
  const authorities = authoritiesOf(state);
  const [issuer] = authorities.filter(({ role }) => role === "issuer");
  const problems = [
    ...(issuer !== undefined && Date.parse(issuer.notAfter) <= Date.now()
      ? [`the issuer expired on ${issuer.notAfter}`]
      : []),
    ...(typeof holder === "string" && holder !== "" ? [] : ["no replica leads, so nobody renews or repairs"]),
    ...bundles
      .filter(({ state }) => state !== "same")
      .map(({ configuration, webhook, state }) => `caBundle of ${webhook} (${configuration}): ${state}`),
    ...(bundles.length === 0 ? [`there is no webhook configuration ${options.webhookConfiguration}`] : []),
  ];
  return {
    secret: `${at.namespace}/${at.name}`,
    phase: phaseOf(state),
    leader: typeof holder === "string" && holder !== "" ? holder : undefined,
    authorities,
    bundles,
    problems,
  };
}

async function secretAt(at: ObjectName, connection: ClusterConnection): Promise<KubeObject> {
  const secret = await orNothing(new ObjectClient(connection, secrets).get(at));
  if (secret !== undefined) return secret;
  throw new UsageError(
    `there is no Secret ${at.namespace}/${at.name}; give --namespace and --tls-secret as serve has them, or see the log of the replicas`,
  );
}

function readState(secret: KubeObject, { namespace, name }: ObjectName): AuthorityState {
  try {
    return stateIn(secret);
  } catch (error) {
    if (!(error instanceof CertificateError)) throw error;
    throw new UsageError(
      `the Secret ${namespace}/${name} is damaged: ${error.message}; the elected replica restores it, see its log`,
    );
  }
}

async function orNothing(reading: Promise<KubeObject>): Promise<KubeObject | undefined> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof ClusterError && error.fault === "absent") return undefined;
    throw error;
  }
}

const authoritiesOf = ({ next, issuer, previous }: AuthorityState): readonly ShownAuthority[] => [
  ...(next === undefined ? [] : [shownAuthority("next", next.cert)]),
  shownAuthority("issuer", issuer.cert),
  ...previous.map((pem) => shownAuthority("former", pem)),
];

function shownAuthority(role: ShownAuthority["role"], pem: string): ShownAuthority {
  const { subject, fingerprint256, validFrom, validTo } = new X509Certificate(pem);
  const [notBefore, notAfter] = [new Date(validFrom).toISOString(), new Date(validTo).toISOString()];
  return { role, subject, fingerprint: fingerprint256, notBefore, notAfter };
}

async function shownBundles(
  { webhookConfiguration: name }: CertsOptions,
  connection: ClusterConnection,
  state: AuthorityState,
): Promise<readonly ShownBundle[]> {
  const wanted = new Set(certificatesIn(bundleFor(state)).map(({ fingerprint256 }) => fingerprint256));
  const { fingerprint256: issuer } = new X509Certificate(state.issuer.cert);
  const shown: ShownBundle[] = [];
  for (const resource of configurationKinds) {
    const found = await orNothing(new ObjectClient(connection, resource).get({ name }));
    for (const { name: webhook, fingerprints } of found === undefined ? [] : entriesIn(found))
      shown.push({ configuration: resource.kind, webhook, state: stateOfBundle(fingerprints, wanted, issuer) });
  }
  return shown;
}

function stateOfBundle(found: ReadonlySet<string>, wanted: ReadonlySet<string>, issuer: string): ShownBundle["state"] {
  if (found.size === 0) return "empty";
  if (!found.has(issuer)) return "without the issuer";
  return found.symmetricDifference(wanted).size === 0 ? "same" : "other authorities";
}

const phases: Readonly<Record<string, string>> = {
  steady: "steady: one authority",
  publishing: "publishing: the next authority is in caBundle, and not used yet",
  retiring: "retiring: the former authority stays in caBundle until its last certificate has expired",
};

function textOf({ secret, phase, leader, authorities, bundles, problems }: ShownAuthorities): string {
  const same = bundles.filter(({ state }) => state === "same").length;
  return [
    `Secret    ${secret}`,
    `Phase     ${phases[phase] ?? phase}`,
    `Leader    ${leader ?? "none"}`,
    ...authorities.map(
      ({ role, subject, notBefore, notAfter, fingerprint }) =>
        `${role.padEnd(9)} ${subject}\n          valid ${notBefore} to ${notAfter}\n          SHA-256 ${fingerprint}`,
    ),
    `caBundle  ${same} of ${bundles.length} webhooks have these authorities`,
    ...problems.map((problem) => `Problem   ${problem}`),
    "",
  ].join("\n");
}

async function rotate(options: RotateOptions, terminal: Terminal): Promise<ExitCode> {
  const at = { namespace: options.namespace, name: options.tlsSecret };
  const request = `${new Date().toISOString()}${options.distrustPrevious ? " distrust" : ""}`;
  await withCluster(options, terminal, async (connection) => {
    const secret = await secretAt(at, connection);
    const { begun } = readState(secret, at);
    const waiting = requestIn(secret);
    if (waiting !== undefined && waiting !== begun)
      terminal.error(
        `meshward: note: the request of ${waiting} was not begun yet; see the log of the elected replica\n`,
      );
    const metadata = { annotations: { [rotateAnnotation]: request } };
    await new ObjectClient(connection, secrets).patch(at, "merge", { metadata });
  });
  terminal.out(
    `A rotation was asked for (annotation ${rotateAnnotation} of the Secret ${at.namespace}/${at.name}). ` +
      "Watch it with meshward certs show.\n",
  );
  return 0;
}
