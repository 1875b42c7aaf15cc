import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { permissionObjects } from "../../src/deploy/permissions.ts";
import { type FailurePolicy, webhookConfigurations } from "../../src/deploy/webhooks.ts";
import { rules } from "../../src/rules/index.ts";
import { selfSigned } from "../../src/tls/self-signed.ts";
import type { ControlPlane } from "./control-plane.ts";
import { freePorts, type Program, startProgram, until } from "./program.ts";

const built = fileURLToPath(new URL("../../dist/meshward.js", import.meta.url));

export interface MeshwardOptions {
  readonly plane: ControlPlane;
  /** Of replicas: the files of each are called after it. */
  readonly name?: string;
  /** MeshwardPolicy and MeshwardException documents. */
  readonly policies?: readonly object[];
  /** More arguments of `serve`. */
  readonly args?: readonly string[];
  /** The file to run. */
  readonly file?: string;
  /** Options in place of --tls-cert and --tls-key. */
  readonly certificates?: readonly string[];
  /** The address to listen on; 127.0.0.1 unless given. */
  readonly host?: string;
  /** More variables of its environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** How long it serves on when it is asked to stop; 0 unless given. */
  readonly drainSeconds?: number;
}

/** `meshward serve` as a process of its own, watching the cluster. */
export interface Meshward {
  readonly program: Program;
  readonly url: string;
  readonly port: number;
  /** PEM; of another process's making where the options say so. */
  readonly authority: string;
  /** Lines of its log so far. */
  log(): readonly Readonly<Record<string, unknown>>[];
  /** How often it was asked about the objects by which `register` sees that the API server knows its address. */
  asked(): number;
  /** One page of the port for probes and metrics; undefined while nothing listens. */
  ops(path: string): Promise<{ readonly status: number; readonly body: string } | undefined>;
  ready(timeoutMs?: number): Promise<void>;
  stop(): Promise<void>;
  kill(): Promise<void>;
  /** The same process again: same ports, same certificate. */
  restart(): Promise<void>;
}

export async function startMeshward(options: MeshwardOptions): Promise<Meshward> {
  const { plane, name = "meshward", policies = [], args = [], file = built, env = {} } = options;
  if (!existsSync(file)) throw new Error(`${file} is not there: run npm run build first`);
  const folder = join(plane.folder, name);
  mkdirSync(folder);
  // One certificate for all its lives, as a mounted Secret would be.
  await selfSigned({ folder, now: Date.now() });
  writeFileSync(join(folder, "policies.json"), JSON.stringify({ apiVersion: "v1", kind: "List", items: policies }));
  await permit(plane, { ownsCertificates: options.certificates !== undefined });
  const [port = 0, opsPort = 0] = await freePorts(2);
  const logPath = join(plane.folder, `${name}.log`);
  const start = () =>
    startProgram({
      name,
      path: process.execPath,
      args: [...argsOf({ ...options, folder, port, opsPort, file }), ...args],
      ...{ logPath, env },
    });
  let program = start();
  const ops = async (path: string) => {
    try {
      const answer = await fetch(`http://127.0.0.1:${opsPort}${path}`, { signal: AbortSignal.timeout(5_000) });
      return { status: answer.status, body: await answer.text() };
    } catch {
      return undefined;
    }
  };
  const ready = async (timeoutMs = 60_000) => {
    const isReady = async () => ((await ops("/readyz"))?.status === 200 ? true : undefined);
    await until("Meshward", isReady, { timeoutMs, programs: [program] });
  };
  return {
    get program() {
      return program;
    },
    url: `https://127.0.0.1:${port}`,
    port,
    authority: readFileSync(join(folder, "ca.crt"), "utf8"),
    log: () => jsonLines(program.output()),
    asked() {
      const about = jsonLines(program.output()).filter(({ name }) => name === canaryName);
      return Math.min(...["/validate", "/mutate"].map((path) => about.filter((line) => line["path"] === path).length));
    },
    ops,
    ready,
    stop: () => program.stop(),
    async kill() {
      program.signal("SIGKILL");
      await program.stop();
    },
    async restart() {
      program = start();
      await ready();
    },
  };
}

function argsOf(
  started: MeshwardOptions & {
    readonly folder: string;
    readonly port: number;
    readonly opsPort: number;
    readonly file: string;
  },
): readonly string[] {
  const { plane, folder, port, opsPort, policies = [], file } = started;
  const certificates = ["--tls-cert", join(folder, "tls.crt"), "--tls-key", join(folder, "tls.key")];
  return [
    ...[file, "serve", "--mesh", "cluster", "--kubeconfig", plane.kubeconfig("meshward")],
    ...["--host", started.host ?? "127.0.0.1", "--port", String(port), "--ops-port", String(opsPort)],
    ...(policies.length > 0 ? ["--policies", join(folder, "policies.json")] : []),
    ...["--drain-seconds", String(started.drainSeconds ?? 0)],
    ...(started.certificates ?? certificates),
  ];
}

function jsonLines(text: string): readonly Readonly<Record<string, unknown>>[] {
  const lines = text.split("\n").filter((line) => line.startsWith("{") && line.endsWith("}"));
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** What Meshward may do in an installation, and nothing else. */
export async function permit(plane: ControlPlane, { ownsCertificates = false } = {}): Promise<void> {
  const namespace = "meshward-system";
  const granted = permissionObjects(rules, { namespace, istioNamespace: "istio-system", ownsCertificates });
  const namespaces = ["istio-system", "meshward-system"].map((name) => ({
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name },
  }));
  await apply(plane, [...namespaces, ...granted]);
}

/** Registers its webhooks, and waits until the API server asks them: at this address, and not at one from before. */
export async function register(
  plane: ControlPlane,
  { url, authority, asked }: Pick<Meshward, "url" | "authority" | "asked">,
  failurePolicy: FailurePolicy = "Fail",
): Promise<void> {
  await apply(plane, webhookConfigurations(rules, { url, caBundle: authority, failurePolicy }));
  const before = asked();
  await until("the webhooks to be asked", async () => ((await isDenied(plane)) && asked() > before ? true : undefined));
}

/** The way out when Meshward stands in the way, as the README has it. */
export const wayOut = ["delete", "validatingwebhookconfiguration,mutatingwebhookconfiguration", "meshward"] as const;

const canaryName = "meshward-is-asked";

/** Whether Meshward denies what it denies whatever the cluster holds. It is asked to change a Namespace, too; nothing is stored. */
async function isDenied(plane: ControlPlane): Promise<boolean> {
  const route = [
    { destination: { host: "a" }, weight: 1 },
    { destination: { host: "b" }, weight: 1 },
  ]; // prettier-ignore
  const canary = {
    apiVersion: "networking.istio.io/v1",
    kind: "VirtualService",
    metadata: { name: canaryName, namespace: "default" },
    spec: { hosts: ["a"], http: [{ route }] },
  };
  const items = [{ apiVersion: "v1", kind: "Namespace", metadata: { name: canaryName } }, canary];
  const input = JSON.stringify({ apiVersion: "v1", kind: "List", items });
  const { stderr } = await plane.kubectl(["create", "--dry-run=server", "-f", "-"], { input });
  return stderr.includes("virtual-service-weights-not-100");
}

async function apply(plane: ControlPlane, items: readonly object[]): Promise<void> {
  const list = { apiVersion: "v1", kind: "List", items };
  // Under a manager of its own it takes away nothing that a test has put on the same object.
  const args = ["apply", "--server-side", "--field-manager=installer", "-f", "-"];
  const { code, stderr } = await plane.kubectl(args, { input: JSON.stringify(list) });
  if (code !== 0) throw new Error(`kubectl apply: exit code ${code}: ${stderr}`);
}
