import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  mkdirSync,
  openSync,
  readFileSync,
  writeFileSync,
  closeSync,
  chownSync,
  symlinkSync,
  rmSync,
  existsSync,
} from "node:fs";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { dirname, join } from "node:path";
import { type ImageRoot, imageRoot, type Mount } from "../image/image-root.ts";
import type { ControlPlane } from "./control-plane.ts";
import type { Raw } from "./environment.ts";
import { until } from "./program.ts";

// What a node does for the pods of one namespace, as far as these tests need it: it runs their containers in the root of
// the image, with the volumes, the environment, the user and the arguments of the pod and nothing else; it probes, reports,
// stops. It forwards the addresses of Services to pods that are ready, as kube-proxy does. Everything else is done by
// Kubernetes' own controllers. Two things differ from a real node: pods share the network of this machine, so each gets an
// address of its own on loopback and `--host`; and there is no DNS, so /etc/hosts has the names of Services.

export interface NodeOptions {
  readonly plane: ControlPlane;
  readonly namespace: string;
  /** With the built file. */
  readonly dist: string;
}

export interface Node {
  /** What the containers of a pod, by the beginning of its name, have written. */
  output(podName: string): string;
  /** Names of pods whose containers run. */
  running(): readonly string[];
  close(): Promise<void>;
}

/** Where pods really listen; their status says an address of TEST-NET-1, because no object may contain one of loopback. */
const realAddress = (index: number): string => `127.0.1.${index}`;
const toldAddress = (index: number): string => `192.0.2.${index}`;

const nodeName = "node";

export function startNode(options: NodeOptions): Node {
  return new LocalNode(options);
}

class LocalNode implements Node {
  readonly #options: NodeOptions;
  readonly #folder: string;
  readonly #pods = new Map<string, RunningPod>();
  readonly #outputs = new Map<string, string>();
  readonly #proxies = new Map<string, Server>();
  readonly #loop: Promise<void>;
  #isClosed = false;
  #count = 0;

  constructor(options: NodeOptions) {
    this.#options = options;
    this.#folder = join(options.plane.folder, "node");
    mkdirSync(this.#folder);
    this.#loop = this.#sync();
  }

  output(podName: string): string {
    const logs = [...this.#outputs].filter(([name]) => name.startsWith(podName));
    return logs.map(([, path]) => readFileSync(path, "utf8")).join("");
  }

  running(): readonly string[] {
    return [...this.#pods.values()].filter(({ isRunning }) => isRunning).map(({ name }) => name);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#loop;
    for (const server of this.#proxies.values()) server.close();
    await Promise.all([...this.#pods.values()].map((pod) => pod.kill()));
  }

  async #sync(): Promise<void> {
    // Endpoints of pods on a node that does not exist are no endpoints.
    await this.#options.plane.post("/api/v1/nodes", { apiVersion: "v1", kind: "Node", metadata: { name: nodeName } });
    while (!this.#isClosed) {
      try {
        await this.#syncServices();
        await this.#syncPods();
      } catch (error) {
        // The API server may be away for a moment; a test that waits for a pod says what it has waited for.
        if (process.env["MESHWARD_E2E_DEBUG"]) process.stderr.write(`node: ${String(error)}\n`);
      }
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }

  async #items(plural: string): Promise<readonly Raw[]> {
    const { status, body } = await this.#options.plane.get(`/api/v1/namespaces/${this.#options.namespace}/${plural}`);
    if (status !== 200) throw new Error(`${plural}: ${status} ${body}`);
    return (JSON.parse(body) as { items: Raw[] }).items;
  }

  async #syncPods(): Promise<void> {
    const pods = await this.#items("pods");
    for (const pod of pods) {
      const known = this.#pods.get(pod["metadata"].uid);
      if (known !== undefined) await known.sync(pod);
      else if (pod["metadata"].deletionTimestamp === undefined) await this.#start(pod);
    }
    const uids = new Set(pods.map(({ metadata }) => metadata.uid));
    for (const [uid, pod] of this.#pods)
      if (!uids.has(uid)) {
        await pod.kill();
        this.#pods.delete(uid);
      }
  }

  async #start(pod: Raw): Promise<void> {
    const running = new RunningPod({ ...this.#options, folder: this.#folder, index: ++this.#count, pod });
    await running.start(await this.#hosts());
    this.#outputs.set(running.name, running.logPath);
    this.#pods.set(pod["metadata"].uid, running);
  }

  async #hosts(): Promise<string> {
    const { namespace } = this.#options;
    const services = (await this.#items("services")).filter(({ spec }) => spec.clusterIP !== "None");
    const lines = services.map(({ metadata, spec }) => `${spec.clusterIP} ${metadata.name}.${namespace}.svc`);
    return ["127.0.0.1 localhost", ...lines, ""].join("\n");
  }

  async #syncServices(): Promise<void> {
    const wanted = new Map<string, () => Promise<Server>>();
    for (const { spec } of await this.#items("services"))
      for (const { port, targetPort } of spec.ports)
        wanted.set(`${spec.clusterIP}:${port}`, () => this.#forward(spec, port, targetPort));
    for (const [address, server] of this.#proxies)
      if (!wanted.has(address)) {
        server.close();
        this.#proxies.delete(address);
      }
    for (const [address, start] of wanted) if (!this.#proxies.has(address)) this.#proxies.set(address, await start());
  }

  async #forward(spec: Raw, port: number, targetPort: string): Promise<Server> {
    let turn = 0;
    const server = createServer((socket) => {
      const ready = [...this.#pods.values()].filter((pod) => pod.isSelected(spec["selector"]) && pod.isReady);
      const pod = ready[turn++ % Math.max(ready.length, 1)];
      socket.on("error", () => socket.destroy());
      if (pod === undefined) socket.destroy();
      else forward(socket, { host: pod.address, port: pod.portNamed(targetPort) });
    });
    server.listen(port, spec["clusterIP"] as string);
    await once(server, "listening");
    return server;
  }
}

function forward(socket: Socket, target: { readonly host: string; readonly port: number }): void {
  const to = createConnection(target);
  to.on("error", () => socket.destroy());
  to.on("close", () => socket.destroy());
  socket.on("close", () => to.destroy());
  socket.pipe(to).pipe(socket);
}

interface PodOptions extends NodeOptions {
  readonly folder: string;
  readonly index: number;
  readonly pod: Raw;
}

class RunningPod {
  readonly name: string;
  readonly address: string;
  readonly logPath: string;
  readonly #options: PodOptions;
  readonly #folder: string;
  readonly #labels: Readonly<Record<string, string>>;
  #child: ReturnType<typeof spawn> | undefined;
  #exit: number | undefined;
  #isReady = false;
  #failures = 0;
  #isStopping = false;
  #reported = "";

  constructor(options: PodOptions) {
    const { pod, index, folder } = options;
    this.#options = options;
    this.name = pod["metadata"].name as string;
    this.#labels = pod["metadata"].labels ?? {};
    this.address = realAddress(index);
    this.#folder = join(folder, this.name);
    this.logPath = join(folder, `${this.name}.log`);
  }

  get isRunning(): boolean {
    return this.#child !== undefined && this.#exit === undefined;
  }

  /** Ready to be sent requests: kube-proxy stops when a pod is about to end. */
  get isReady(): boolean {
    return this.#isReady && this.isRunning;
  }

  isSelected(selector: Readonly<Record<string, string>>): boolean {
    return Object.entries(selector).every(([key, value]) => this.#labels[key] === value);
  }

  portNamed(name: string): number {
    const found = this.#container["ports"]?.find((port: Raw) => port["name"] === name);
    return (found?.containerPort as number | undefined) ?? 0;
  }

  get #container(): Raw {
    return this.#options.pod["spec"].containers[0] as Raw;
  }

  get #path(): string {
    return `/api/v1/namespaces/${this.#options.namespace}/pods/${this.name}`;
  }

  async start(hosts: string): Promise<void> {
    const { plane, dist, pod } = this.#options;
    await plane.post(`${this.#path}/binding`, {
      apiVersion: "v1",
      kind: "Binding",
      metadata: { name: this.name },
      target: { apiVersion: "v1", kind: "Node", name: nodeName },
    });
    const root: ImageRoot = imageRoot(join(this.#folder, "root"), dist);
    const mounts = await this.#mounts(hosts);
    const { command, args = [], env = [] } = this.#container;
    const ofPod = (env as readonly Raw[]).map(({ name, value }) => [String(name), String(value)]);
    const isServer = args[0] === "serve";
    const server = new URL(plane.url);
    const [path, ...line] = root.command([...args, ...(isServer ? [`--host=${this.address}`] : [])], {
      mounts,
      env: {
        ...Object.fromEntries(ofPod),
        ...{ KUBERNETES_SERVICE_HOST: server.hostname, KUBERNETES_SERVICE_PORT: server.port, HOSTNAME: this.name },
      },
      ...(command === undefined ? {} : { entrypoint: command as readonly string[] }),
    });
    const { runAsUser } = pod["spec"].securityContext;
    if (runAsUser !== 65532) throw new Error(`the pod runs as ${runAsUser}, and the image as 65532`);
    const log = openSync(this.logPath, "a");
    const child = spawn(path, line, { stdio: ["ignore", log, log] });
    closeSync(log);
    children.add(child);
    child.once("exit", (code) => {
      children.delete(child);
      this.#exit = code ?? 137;
    });
    this.#child = child;
  }

  /** Reports what has happened, and does what the object says. */
  async sync(pod: Raw): Promise<void> {
    const isEnding = pod["metadata"].deletionTimestamp !== undefined;
    if (isEnding && !this.#isStopping) {
      this.#isStopping = true;
      this.#child?.kill("SIGTERM");
    }
    this.#isReady = this.isRunning && !isEnding && (await this.#probe());
    if (isEnding && !this.isRunning) {
      await this.#options.plane.delete(`${this.#path}?gracePeriodSeconds=0`);
      return;
    }
    await this.#report();
  }

  async #report(): Promise<void> {
    const text = JSON.stringify(this.#status(""));
    if (text === this.#reported) return;
    const status = this.#status(new Date().toISOString().replace(/\.\d+Z$/, "Z"));
    const answer = await this.#options.plane.patch(`${this.#path}/status`, { status }, "admin");
    if (answer.status === 200) this.#reported = text;
    else if (answer.status !== 404) throw new Error(`status of ${this.name}: ${answer.body}`);
  }

  async kill(): Promise<void> {
    if (!this.isRunning || this.#child === undefined) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }

  /** `now`, RFC 3339: a Deployment counts a pod as available that has been ready for a while. */
  #status(now: string): Raw {
    const ended = this.#exit;
    const phase = ended === undefined ? "Running" : ended === 0 ? "Succeeded" : "Failed";
    const address = toldAddress(this.#options.index);
    const state = ended === undefined ? { running: {} } : { terminated: { exitCode: ended } };
    const condition = (type: string, value: boolean) => ({
      type,
      status: value ? "True" : "False",
      lastTransitionTime: now,
    });
    return {
      phase,
      podIP: address,
      podIPs: [{ ip: address }],
      conditions: [condition("Ready", this.#isReady), condition("ContainersReady", this.#isReady)],
      containerStatuses: [
        {
          ...{ name: this.#container["name"], image: this.#container["image"], imageID: "", restartCount: 0 },
          ...{ ready: this.#isReady, started: true, state },
        },
      ],
    };
  }

  /** As the kubelet does it: a pod stays ready until its probe has failed as often in succession as the pod says. */
  async #probe(): Promise<boolean> {
    const { httpGet, timeoutSeconds = 1, failureThreshold = 3 } = (this.#container["readinessProbe"] ?? {}) as Raw;
    if (httpGet === undefined) return true;
    const url = `http://${this.address}:${this.portNamed(httpGet.port)}${httpGet.path}`;
    const isOk = await fetch(url, { signal: AbortSignal.timeout(timeoutSeconds * 1_000) }).then(
      ({ status }) => status === 200,
      () => false,
    );
    this.#failures = isOk ? 0 : this.#failures + 1;
    return isOk || (this.#isReady && this.#failures < failureThreshold);
  }

  async #mounts(hosts: string): Promise<readonly Mount[]> {
    const { pod } = this.#options;
    const files = new Map<string, Readonly<Record<string, string>>>();
    for (const volume of pod["spec"].volumes ?? []) files.set(volume.name, await this.#contents(volume));
    const mounts = (this.#container["volumeMounts"] ?? []).map(({ name, mountPath }: Raw): Mount => {
      const source = join(this.#folder, "volumes", name);
      writeVolume(source, files.get(name) ?? {});
      return { source, target: mountPath };
    });
    const path = join(this.#folder, "hosts");
    writeFileSync(path, hosts);
    return [...mounts, { source: path, target: "/etc/hosts" }];
  }

  async #contents(volume: Raw): Promise<Readonly<Record<string, string>>> {
    const { plane, pod, namespace } = this.#options;
    const read = async (plural: string, name: string): Promise<Readonly<Record<string, string>>> =>
      until(`${plural} ${name}`, async () => {
        const { status, body } = await plane.get(`/api/v1/namespaces/${namespace}/${plural}/${name}`);
        return status === 200 ? ((JSON.parse(body) as Raw)["data"] as Record<string, string>) : undefined;
      });
    if (volume["secret"] !== undefined) {
      const data = await read("secrets", volume["secret"].secretName);
      return Object.fromEntries(
        Object.entries(data).map(([key, value]) => [key, Buffer.from(value, "base64").toString()]),
      );
    }
    if (volume["configMap"] !== undefined) return read("configmaps", volume["configMap"].name);
    if (volume["projected"] === undefined) throw new Error(`no such volume here: ${JSON.stringify(volume)}`);
    const { serviceAccountName } = pod["spec"];
    const { status, body } = await plane.post(
      `/api/v1/namespaces/${namespace}/serviceaccounts/${serviceAccountName}/token`,
      { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: { expirationSeconds: 3600 } },
    );
    if (status !== 201) throw new Error(`a token for ${serviceAccountName}: ${body}`);
    const { token } = (JSON.parse(body) as Raw)["status"] as { readonly token: string };
    return { token, namespace, "ca.crt": readFileSync(plane.authority, "utf8") };
  }
}

/** As the kubelet lays files out, so that all of them change at once: links to a folder that is a link. */
function writeVolume(folder: string, files: Readonly<Record<string, string>>): void {
  if (existsSync(folder)) rmSync(folder, { recursive: true });
  const data = join(folder, "..2026_01_01_00_00_00.123456789");
  for (const [name, text] of Object.entries(files)) {
    const path = join(data, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text, { mode: 0o440 });
    chownSync(path, 65532, 65532);
    symlinkSync(join("..data", name), join(folder, name));
  }
  if (Object.keys(files).length > 0) symlinkSync("..2026_01_01_00_00_00.123456789", join(folder, "..data"));
}

const children = new Set<ReturnType<typeof spawn>>();
// Nothing outlives the suite, however it ends.
process.once("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});
