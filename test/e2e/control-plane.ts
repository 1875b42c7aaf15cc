import { spawn } from "node:child_process";
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Binaries } from "./binaries.ts";
import { freePorts, type Program, startProgram, until } from "./program.ts";
import { type UserName, userNames, users } from "./users.ts";

// etcd, kube-apiserver and, for what garbage collection and namespaces need, kube-controller-manager: on loopback, in a
// folder of their own, gone when closed.

export interface Output {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}
export interface KubectlOptions {
  readonly as?: UserName;
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  /** Where it runs, so that it names files as a user would. */
  readonly cwd?: string;
}
export interface Answer {
  readonly status: number;
  readonly body: string;
}

export interface ControlPlane {
  readonly url: string;
  /** For whatever a test writes; removed with the control plane. */
  readonly folder: string;
  readonly etcd: Program;
  kubeconfig(user: UserName): string;
  /** Never throws for what kubectl says or how it exits. */
  kubectl(args: readonly string[], options?: KubectlOptions): Promise<Output>;
  /** One request past kubectl, by its path. */
  get(path: string, as?: UserName): Promise<Answer>;
  /** A merge patch, past kubectl: for what has to arrive at a certain moment. */
  patch(path: string, content: unknown, as: UserName): Promise<Answer>;
  /** Past kubectl too, as the administrator. */
  post(path: string, content: unknown): Promise<Answer>;
  delete(path: string): Promise<Answer>;
  /** The file with the certificate of the API server. */
  readonly authority: string;
  /** What Meshward has asked of the API server so far. */
  auditLog(): readonly AuditEvent[];
  /** Custom resource definitions of Istio and of the Gateway API, established. */
  define(): Promise<void>;
  /** Stops the API server and starts it again on the same port. */
  restartApiServer(): Promise<void>;
  close(): Promise<void>;
}

export interface AuditEvent {
  readonly auditID: string;
  readonly verb: string;
  readonly requestURI: string;
  readonly stage: string;
  readonly requestReceivedTimestamp: string;
  readonly userAgent?: string;
  readonly responseStatus?: { readonly code?: number };
}

export interface ControlPlaneOptions {
  readonly binaries: Binaries;
  /** Further options of kube-apiserver. */
  readonly apiServer?: readonly string[];
  /** Namespaces that end, garbage that is collected, expressions of ValidatingAdmissionPolicies that are type-checked. */
  readonly controllers?: boolean;
  /** Deployments, Jobs and EndpointSlices as well, and Services whose addresses are on loopback: see node.ts. */
  readonly workloads?: boolean;
  /** Custom resource definitions of Istio and of the Gateway API. */
  readonly definitions?: boolean;
}

/** The control plane, ready, with its definitions established and every user but the administrator bound to all of it. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const plane = new Plane(options, await mkdtemp(join(tmpdir(), "meshward-e2e-")));
  try {
    await plane.start();
    return plane;
  } catch (error) {
    await plane.close();
    throw error;
  }
}

class Plane implements ControlPlane {
  readonly folder: string;
  readonly #options: ControlPlaneOptions;
  readonly #tokens: Readonly<Record<string, string>>;
  #ports: readonly number[] = [];
  #etcd: Program | undefined;
  #apiServer: Program | undefined;
  #controllers: Program | undefined;

  constructor(options: ControlPlaneOptions, folder: string) {
    this.folder = folder;
    this.#options = options;
    this.#tokens = Object.fromEntries(userNames.map((name) => [name, randomUUID()]));
  }

  async start(): Promise<void> {
    this.#ports = await freePorts(4);
    this.#writeFiles();
    this.#startEtcd();
    await this.#startApiServer();
    for (const user of userNames) this.#writeKubeconfig(user);
    await this.#bindUsers();
    if (this.#options.controllers) await this.#startControllers();
    if (this.#options.definitions) await this.define();
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port("apiServer")}`;
  }

  get etcd(): Program {
    return this.#etcd as Program;
  }

  kubeconfig(user: UserName): string {
    return join(this.folder, `${user}.kubeconfig`);
  }

  kubectl(args: readonly string[], options: KubectlOptions = {}): Promise<Output> {
    // Longer than any --timeout that a test gives to kubectl, whose own message says what it has waited for.
    const { as = "admin", input, env = {}, timeoutMs = 180_000, cwd } = options;
    return run(this.#options.binaries.kubectl, args, {
      ...(input === undefined ? {} : { input }),
      ...(cwd === undefined ? {} : { cwd }),
      timeoutMs,
      env: {
        ...env,
        KUBECONFIG: this.kubeconfig(as),
        KUBECACHEDIR: join(this.folder, "kubectl-cache"),
        HOME: this.folder,
        PATH: process.env.PATH ?? "",
      },
    });
  }

  get(path: string, as: UserName = "admin"): Promise<Answer> {
    return this.#request({ method: "GET", path, as });
  }

  patch(path: string, content: unknown, as: UserName): Promise<Answer> {
    return this.#request({ method: "PATCH", path, as, body: JSON.stringify(content) });
  }

  post(path: string, content: unknown): Promise<Answer> {
    return this.#request({ method: "POST", path, as: "admin", body: JSON.stringify(content) });
  }

  delete(path: string): Promise<Answer> {
    return this.#request({ method: "DELETE", path, as: "admin" });
  }

  #request({ method, path, as, body = "" }: Sent): Promise<Answer> {
    const ca = readFileSync(this.authority);
    return new Promise((resolve, reject) => {
      const headers = {
        authorization: `Bearer ${this.#tokens[as]}`,
        ...(method === "PATCH" ? { "content-type": "application/merge-patch+json" } : {}),
        ...(method === "POST" ? { "content-type": "application/json" } : {}),
      };
      const sent = request(new URL(path, this.url), { method, ca, headers, timeout: 30_000 }, (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk) => (text += String(chunk)));
        response.once("end", () => resolve({ status: response.statusCode ?? 0, body: text }));
        response.once("error", reject);
      });
      sent.once("timeout", () => sent.destroy(new Error("no answer within 30 s")));
      sent.once("error", reject);
      sent.end(body);
    });
  }

  auditLog(): readonly AuditEvent[] {
    const path = join(this.folder, "audit.log");
    const lines = existsSync(path) ? readFileSync(path, "utf8").split("\n") : [];
    return lines.filter((line) => line.endsWith("}")).map((line) => JSON.parse(line) as AuditEvent);
  }

  async restartApiServer(): Promise<void> {
    await this.#apiServer?.stop();
    await this.#startApiServer();
  }

  async close(): Promise<void> {
    await this.#controllers?.stop(5_000);
    await this.#apiServer?.stop();
    await this.#etcd?.stop();
    await rm(this.folder, { recursive: true, force: true });
  }

  #port(of: "apiServer" | "etcd" | "etcdPeer" | "controllers"): number {
    return this.#ports[["apiServer", "etcd", "etcdPeer", "controllers"].indexOf(of)] ?? 0;
  }

  get authority(): string {
    return join(this.folder, "certs/apiserver.crt");
  }

  #writeFiles(): void {
    mkdirSync(join(this.folder, "certs"));
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    this.#write("sa.key", privateKey.export({ type: "sec1", format: "pem" }).toString());
    this.#write("sa.pub", publicKey.export({ type: "spki", format: "pem" }).toString());
    const tokens = userNames.map((key) => {
      const { name, groups } = users[key];
      return `${this.#tokens[key]},${name},${key},"${groups.join(",")}"`;
    });
    this.#write("tokens.csv", `${tokens.join("\n")}\n`);
    const rules = [{ level: "Metadata", users: [users.meshward.name] }, { level: "None" }];
    const policy = { apiVersion: "audit.k8s.io/v1", kind: "Policy", omitStages: ["ResponseStarted"], rules };
    this.#write("audit.yaml", JSON.stringify(policy));
  }

  #write(name: string, content: string): void {
    writeFileSync(join(this.folder, name), content, { mode: 0o600 });
  }

  #writeKubeconfig(user: UserName): void {
    const config = {
      apiVersion: "v1",
      kind: "Config",
      "current-context": "e2e",
      clusters: [{ name: "e2e", cluster: { server: this.url, "certificate-authority": this.authority } }],
      users: [{ name: user, user: { token: this.#tokens[user] } }],
      contexts: [{ name: "e2e", context: { cluster: "e2e", user } }],
    };
    this.#write(`${user}.kubeconfig`, JSON.stringify(config));
  }

  #startEtcd(): void {
    const client = `http://127.0.0.1:${this.#port("etcd")}`;
    this.#etcd = this.#start("etcd", this.#options.binaries.etcd, [
      `--data-dir=${join(this.folder, "etcd")}`,
      `--listen-client-urls=${client}`,
      `--advertise-client-urls=${client}`,
      `--listen-peer-urls=http://127.0.0.1:${this.#port("etcdPeer")}`,
      "--unsafe-no-fsync=true",
      "--log-level=warn",
    ]);
  }

  async #startApiServer(): Promise<void> {
    const at = (name: string) => join(this.folder, name);
    this.#apiServer = this.#start("kube-apiserver", this.#options.binaries["kube-apiserver"], [
      `--etcd-servers=http://127.0.0.1:${this.#port("etcd")}`,
      `--cert-dir=${at("certs")}`,
      "--bind-address=127.0.0.1",
      `--secure-port=${this.#port("apiServer")}`,
      "--authorization-mode=RBAC",
      `--service-cluster-ip-range=${this.#options.workloads ? "127.96.0.0/24" : "10.0.0.0/24"}`,
      `--service-account-issuer=${this.url}/`,
      `--service-account-key-file=${at("sa.pub")}`,
      `--service-account-signing-key-file=${at("sa.key")}`,
      "--disable-admission-plugins=ServiceAccount",
      "--allow-privileged=true",
      "--advertise-address=127.0.0.1",
      "--endpoint-reconciler-type=none",
      ...(this.#options.apiServer ?? []),
      `--token-auth-file=${at("tokens.csv")}`,
      `--audit-policy-file=${at("audit.yaml")}`,
      `--audit-log-path=${at("audit.log")}`,
      "--audit-log-mode=blocking",
    ]);
    const programs = [this.#apiServer, this.#etcd as Program];
    await until("the API server", async () => ((await this.get("/readyz")).body === "ok" ? true : undefined), {
      timeoutMs: 90_000,
      everyMs: 100,
      programs,
    });
  }

  async #startControllers(): Promise<void> {
    const workloads = ["deployment", "replicaset", "job", "endpointslice", "disruption"];
    const always = ["namespace", "garbage-collector", "serviceaccount", "validatingadmissionpolicy-status"];
    const names = [...always, ...(this.#options.workloads ? workloads : [])];
    const controllers = names.map((name) => `${name}-controller`);
    const port = this.#port("controllers");
    this.#controllers = this.#start("kube-controller-manager", this.#options.binaries["kube-controller-manager"], [
      `--kubeconfig=${this.kubeconfig("admin")}`,
      `--controllers=${controllers.join(",")}`,
      "--use-service-account-credentials=true",
      `--service-account-private-key-file=${join(this.folder, "sa.key")}`,
      "--leader-elect=false",
      "--bind-address=127.0.0.1",
      `--secure-port=${port}`,
    ]);
    const path = "/api/v1/namespaces/default/serviceaccounts/default";
    await until("the controllers", async () => ((await this.get(path)).status === 200 ? true : undefined), {
      timeoutMs: 60_000,
      everyMs: 100,
      programs: [this.#controllers],
    });
  }

  #start(name: string, path: string, args: readonly string[]): Program {
    return startProgram({ name, path, args, logPath: join(this.folder, `${name}.log`) });
  }

  /** The tests are about what Meshward lets through, not about what RBAC does; only Meshward itself has no more than it needs. */
  async #bindUsers(): Promise<void> {
    const bound = userNames.filter((name) => name !== "admin" && name !== "meshward");
    await this.#apply({
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRoleBinding",
      metadata: { name: "e2e" },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
      subjects: bound.map((name) => ({
        apiGroup: "rbac.authorization.k8s.io",
        kind: "User",
        name: users[name].name,
      })),
    });
  }

  async define(): Promise<void> {
    const { definitions } = this.#options.binaries;
    await this.#succeed(["apply", "--server-side", "-f", definitions]);
    // kubectl wait fails for an object that has no conditions yet.
    await until("the definitions", async () => {
      await this.#succeed(["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
      return true;
    });
  }

  #apply(object: object): Promise<void> {
    return this.#succeed(["apply", "-f", "-"], JSON.stringify(object));
  }

  async #succeed(args: readonly string[], input?: string): Promise<void> {
    const { code, stderr } = await this.kubectl(args, input === undefined ? {} : { input });
    if (code !== 0) throw new Error(`kubectl ${args.join(" ")}: exit code ${code}: ${stderr}`);
  }
}

interface Sent {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  readonly path: string;
  readonly as: UserName;
  readonly body?: string;
}
interface RunOptions {
  readonly input?: string;
  readonly env: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly cwd?: string;
}

/** A program that ends by itself. One that takes too long is killed, and its exit code is then -1. */
function run(path: string, args: readonly string[], { input, timeoutMs, ...where }: RunOptions): Promise<Output> {
  return new Promise((resolve, reject) => {
    const child = spawn(path, args, { ...where, timeout: timeoutMs, killSignal: "SIGKILL" });
    const output = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const)
      child[name].setEncoding("utf8").on("data", (chunk) => (output[name] += String(chunk)));
    child.once("error", reject);
    child.once("close", (code) => {
      const late = code === null ? `\nkubectl did not end within ${timeoutMs} ms` : "";
      resolve({ code: code ?? -1, stdout: output.stdout, stderr: `${output.stderr}${late}` });
    });
    child.stdin.on("error", () => undefined); // it may end before it has read everything
    child.stdin.end(input ?? "");
  });
}
