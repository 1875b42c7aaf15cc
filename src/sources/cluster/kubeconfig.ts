import { existsSync, readFileSync } from "node:fs";
import { isIPv6 } from "node:net";
import { delimiter, dirname, isAbsolute, join, sep } from "node:path";
import type { Cluster, KubeConfig, User } from "@kubernetes/client-node";
import { parse, YAMLParseError } from "yaml";
import { isObject, member } from "../../kube/read.ts";
import { isSystemError, unreadable } from "../../text/file-errors.ts";
import { ClusterError } from "./cluster-error.ts";

/**
 * Where the cluster configuration is searched, in kubectl's order: `--kubeconfig`, `KUBECONFIG`, `~/.kube/config`,
 * the pod's service account.
 */
export interface KubeconfigOptions {
  readonly kubeconfig?: string | undefined;
  readonly context?: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The folder with the token and CA of the pod's service account. */
  readonly serviceAccountFolder?: string;
}

/**
 * Loads the kubeconfig with a selected, complete context. client-node parses single files and derives credentials; this
 * module merges several files and corrects fields that client-node reads differently from kubectl.
 * @throws ClusterError `configuration`
 */
export async function readKubeconfig(options: KubeconfigOptions): Promise<KubeConfig> {
  const { KubeConfig } = await import("./client-node.ts");
  const merged = new KubeConfig();
  const files = filesOf(options);
  if (files.length === 0) inCluster(merged, options);
  for (const file of files) merge(merged, readFile(new KubeConfig(), file));
  choose(merged, options);
  return merged;
}

const noKubeconfig =
  "give --kubeconfig or set KUBECONFIG; in a pod, mount the service account's token (automountServiceAccountToken)";

function filesOf({ kubeconfig, env }: KubeconfigOptions): readonly string[] {
  if (kubeconfig !== undefined) {
    if (!existsSync(kubeconfig)) throw wrong(`--kubeconfig ${kubeconfig}: there is no such file: correct the path`);
    return [kubeconfig];
  }
  const named = (env["KUBECONFIG"] ?? "").split(delimiter).filter((file) => file !== "");
  if (named.length > 0) {
    // kubectl ignores files that do not exist, because it may create them when it writes a context.
    const there = named.filter((file) => existsSync(file));
    if (there.length === 0) throw wrong(`KUBECONFIG names no file that exists: ${named.join(", ")}`);
    return there;
  }
  const home = env["HOME"] ?? env["USERPROFILE"];
  const file = home === undefined ? undefined : join(home, ".kube", "config");
  return file !== undefined && existsSync(file) ? [file] : [];
}

const wrong = (message: string): ClusterError => new ClusterError("configuration", message);

function readFile(config: KubeConfig, file: string): KubeConfig {
  try {
    const raw: unknown = parse(readFileSync(file, "utf8"), { merge: true });
    if (!isObject(raw)) throw new Error("it is not a kubeconfig");
    // As JSON, because the built file leaves out the YAML reader of client-node: Meshward has its own.
    config.loadFromString(JSON.stringify(raw), { onInvalidEntry: "filter" });
    config.makePathsAbsolute(dirname(file));
    amendUsers(config.users, raw, dirname(file));
    return config;
  } catch (error) {
    if (isSystemError(error)) throw wrong(`the kubeconfig ${file}: ${unreadable(error)}`);
    if (error instanceof YAMLParseError && error.code === "MULTIPLE_DOCS")
      throw wrong(`the kubeconfig ${file} has several YAML documents, and a kubeconfig is one: correct the path`);
    const why = error instanceof Error ? error.message : String(error);
    throw wrong(`the kubeconfig ${file} cannot be read: ${why}; run kubectl config view to see how kubectl reads it`);
  }
}

/** client-node reads `token-file` where kubectl writes `tokenFile`, and resolves relative plugin paths differently. */
function amendUsers(users: readonly User[], raw: unknown, folder: string): void {
  const entries: unknown = member(raw, "users");
  for (const entry of Array.isArray(entries) ? entries : []) {
    const user = users.find(({ name }) => name === member(entry, "name"));
    if (user === undefined) continue;
    const tokenFile = member(member(entry, "user"), "tokenFile");
    if (typeof tokenFile === "string" && tokenFile !== "")
      Object.assign(user, { token: undefined, authProvider: tokenFileProvider(absolute(folder, tokenFile)) });
    const command: unknown = member(user.exec, "command");
    if (typeof command === "string" && command.includes(sep)) user.exec.command = absolute(folder, command);
  }
}

const absolute = (folder: string, path: string): string => (isAbsolute(path) ? path : join(folder, path));
const tokenFileProvider = (tokenFile: string) => ({ name: "tokenFile", config: { tokenFile } });

/** Merges as kubectl does: the first entry of a name wins, and so does the first current-context. */
function merge(into: KubeConfig, other: KubeConfig): void {
  into.clusters = distinct([...into.clusters, ...other.clusters]);
  into.users = distinct([...into.users, ...other.users]);
  into.contexts = distinct([...into.contexts, ...other.contexts]);
  if (!into.currentContext) into.setCurrentContext(other.currentContext);
}

function distinct<T extends { readonly name: string }>(named: readonly T[]): T[] {
  const first = new Map<string, T>();
  for (const one of named) if (!first.has(one.name)) first.set(one.name, one);
  return [...first.values()];
}

const defaultServiceAccountFolder = "/var/run/secrets/kubernetes.io/serviceaccount";

function inCluster(config: KubeConfig, options: KubeconfigOptions): void {
  const { env, serviceAccountFolder: folder = defaultServiceAccountFolder } = options;
  const [host, port = "443"] = [env["KUBERNETES_SERVICE_HOST"], env["KUBERNETES_SERVICE_PORT"]];
  const tokenFile = join(folder, "token");
  if (host === undefined || !existsSync(tokenFile)) throw wrong(`there is no kubeconfig: ${noKubeconfig}`);
  const name = "in-cluster";
  config.loadFromOptions({
    clusters: [
      { name, server: `https://${isIPv6(host) ? `[${host}]` : host}:${port}`, caFile: join(folder, "ca.crt") },
    ],
    users: [{ name, authProvider: tokenFileProvider(tokenFile) }],
    contexts: [{ name, cluster: name, user: name }],
    currentContext: name,
  });
}

function choose(config: KubeConfig, { context }: KubeconfigOptions): void {
  const known = config.contexts.map(({ name }) => name).join(", ");
  const there = known === "" ? "it has no contexts" : `its contexts are ${known}`;
  const name = context ?? config.currentContext;
  if (!name) throw wrong(`the kubeconfig has no current-context: give --context (${there})`);
  const chosen = config.getContextObject(name);
  if (chosen === null) throw wrong(`the kubeconfig has no context ${JSON.stringify(name)}; ${there}`);
  config.setCurrentContext(name);
  const cluster = config.getCurrentCluster();
  if (cluster === null)
    throw wrong(
      `context ${JSON.stringify(name)} of the kubeconfig names the cluster ${chosen.cluster}, which is missing`,
    );
  completeUser(config, chosen, cluster);
}

function completeUser(config: KubeConfig, chosen: { user: string; name: string }, cluster: Cluster): void {
  // client-node rejects plain HTTP unless verification is off; kubectl accepts the scheme that the user wrote.
  if (cluster.server.startsWith("http:")) Object.assign(cluster, { skipTLSVerify: true });
  const user = config.getCurrentUser();
  if (user === null && chosen.user)
    throw wrong(
      `context ${JSON.stringify(chosen.name)} of the kubeconfig names the user ${chosen.user}, who is missing`,
    );
  // Without a user, client-node ignores the CA as well.
  if (user === null) {
    config.users = [...config.users, { name: "" }];
    chosen.user = "";
  }
  if (isObject(user?.exec)) informPlugin(user.exec, cluster);
}

/** Sets KUBERNETES_EXEC_INFO, which credential plugins read and client-node does not set. */
function informPlugin(exec: Record<string, unknown>, cluster: Cluster): void {
  const name = "KUBERNETES_EXEC_INFO";
  const env = (Array.isArray(exec["env"]) ? exec["env"] : []) as unknown[];
  const shown = {
    server: cluster.server,
    "tls-server-name": cluster.tlsServerName,
    "insecure-skip-tls-verify": cluster.skipTLSVerify,
    "certificate-authority-data": cluster.caData,
  };
  const value = JSON.stringify({
    apiVersion: exec["apiVersion"],
    kind: "ExecCredential",
    spec: { interactive: false, ...(exec["provideClusterInfo"] === true ? { cluster: shown } : {}) },
  });
  exec["env"] = [...env.filter((entry) => member(entry, "name") !== name), { name, value }];
}
