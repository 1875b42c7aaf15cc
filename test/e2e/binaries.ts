import { type SpawnSyncReturns, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

// The parts of a real control plane, pinned by go.mod and go.sum of `controlplane/` and by the sums below. Run as a
// program it makes sure that they are there: the first time that takes minutes.

const module = fileURLToPath(new URL("controlplane/", import.meta.url));
const cache = fileURLToPath(new URL("../../.cache/e2e-bin/", import.meta.url));

const tools = {
  etcd: "go.etcd.io/etcd/server/v3",
  "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
  kubectl: "k8s.io/kubernetes/cmd/kubectl",
  "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
} as const;
type Tool = keyof typeof tools;
const toolNames = Object.keys(tools) as readonly Tool[];
const assets = process.env.KUBEBUILDER_ASSETS;

/**
 * Modules of which only files are taken, so that what compiles them and what they require does not matter. A sum that
 * differs is refused.
 */
const definitionModules = [
  {
    path: "istio.io/api",
    version: "v1.31.1",
    sum: "h1:5Yb5ihcz4YQsCkciusK7DnFpBMwRB6EFWeUKH1Atuyk=",
    files: "kubernetes/customresourcedefinitions.gen.yaml",
  },
  {
    path: "sigs.k8s.io/gateway-api",
    version: "v1.7.0",
    sum: "h1:duVnm7nO6oXfMMUWfcDoBph47CYR/ME3NGxccOVglaY=",
    files: "config/crd/standard",
  },
] as const;

/**
 * What the built-in schemas are generated from: the same modules, of the Gateway API with the fields that are experimental, because
 * a cluster may have them.
 */
const publishedModules: readonly Definitions[] = definitionModules.map((module) => ({
  ...module,
  files: module.files.replace("config/crd/standard", "config/crd/experimental"),
}));

/** The messages of the mesh config, and those that they contain. */
const protoModules: readonly Definitions[] = ["mesh/v1alpha1", "networking/v1alpha3", "networking/v1beta1"].map(
  (files) => ({
    ...definitionModules[0],
    files,
  }),
);

/** The folders with the messages of Istio's API. Throws a BinariesError if they are not there. */
export function findMessages(): readonly string[] {
  const folders = protoModules.map(folderOf);
  if (folders.every((folder) => existsSync(folder))) return folders;
  throw new BinariesError(
    `there are not all messages of ${definitionModules[0].path} in ${cache}: npm run e2e downloads them`,
  );
}

/** The modules of the built-in schemas, each with the folder of its definitions; or why they are not there. */
export function findPublished():
  | readonly { readonly path: string; readonly version: string; readonly sum: string; readonly folder: string }[]
  | { readonly missing: string } {
  const found = publishedModules.map((module) => ({ ...module, folder: folderOf(module) }));
  if (found.every(({ folder }) => existsSync(folder))) return found;
  const missing = `there are not all definitions of ${found.map(({ path }) => path).join(", ")} in ${cache}: npm run e2e downloads them`;
  if (isContinuousIntegration()) throw new BinariesError(missing);
  return { missing };
}

/** Downloads what is missing. Throws a BinariesError where that cannot be done. */
export const takePublished = (say: (line: string) => void): void =>
  takeModules([...publishedModules, ...protoModules], say);

/**
 * The definitions of reports, of cert-manager and of the Prometheus operator, which clusters have or have not: each group in a
 * folder of its own, and in the cache apart from the programs, which take minutes to build.
 */
const optionalModules = {
  "openreports.io": {
    path: "github.com/openreports/reports-api",
    version: "v0.2.1",
    sum: "h1:g9KS3yle9Y1elmww4TK9EkD1rl6inIaiIJPX6e+u680=",
    files: "config/crd",
  },
  "wgpolicyk8s.io": {
    path: "github.com/kyverno/kyverno",
    version: "v1.19.1",
    sum: "h1:/MkgFii3/VlQfKR1JpC9tVwNNVNQTt2S4U6qCsafsTU=",
    files: "config/crds/policyreport",
  },
  "cert-manager.io": {
    path: "github.com/cert-manager/cert-manager",
    version: "v1.19.1",
    sum: "h1:Txh8L/nLWTDcb7ZnXuXbTe15BxQnLbLirXmbNk0fGgY=",
    files: "deploy/crds",
  },
  "monitoring.coreos.com": {
    path: "github.com/prometheus-operator/prometheus-operator",
    version: "v0.92.1",
    sum: "h1:rHWuFo6SVya4FBSCNg2DCzyc4xAv54zk3eDTzp5mQZc=",
    files: "example/prometheus-operator-crd",
  },
} as const satisfies Readonly<Record<string, Definitions>>;

/** Folders of custom resource definitions, by the API group that they define. */
export type OptionalDefinitions = Readonly<Record<keyof typeof optionalModules, string>>;

/** Where they are, or why they are not there: as {@link findBinaries}. */
export function findOptionalDefinitions(): OptionalDefinitions | { readonly missing: string } {
  const folders = Object.entries(optionalModules).map(([group, module]) => [group, folderOf(module)] as const);
  if (folders.every(([, folder]) => existsSync(folder))) return Object.fromEntries(folders) as OptionalDefinitions;
  const missing = `there are not all definitions of ${Object.keys(optionalModules).join(", ")} in ${cache}: npm run e2e downloads them`;
  if (isContinuousIntegration()) throw new BinariesError(missing);
  return { missing };
}

/** Downloads what is missing. Throws a BinariesError where that cannot be done. */
export const takeOptionalDefinitions = (say: (line: string) => void): void =>
  takeModules(Object.values(optionalModules), say);

function takeModules(modules: readonly Definitions[], say: (line: string) => void): void {
  mkdirSync(cache, { recursive: true });
  for (const module of modules.filter((one) => !existsSync(folderOf(one)))) {
    say(`downloading ${module.path}`);
    const unfinished = mkdtempSync(join(cache, "definitions.unfinished-"));
    takeFiles(module, unfinished);
    rmSync(folderOf(module), { recursive: true, force: true });
    renameSync(unfinished, folderOf(module));
  }
}

const folderOf = ({ path, version, sum, files }: Definitions): string => {
  const hash = createHash("sha256")
    .update(JSON.stringify([path, version, sum, files]))
    .digest("hex");
  return join(cache, `definitions-${hash.slice(0, 16)}`);
};

/** Where each program is, and a folder of custom resource definitions as YAML files. */
export type Binaries = Readonly<Record<Tool, string>> & { readonly definitions: string };

/** One line that says what is missing and how to get it. */
export class BinariesError extends Error {}

/**
 * What is there already, or why there is nothing: never builds. Where CI is set, having nothing is an error: a suite
 * that skips itself there would be green for ever.
 */
export function findBinaries(): Binaries | { readonly missing: string } {
  const folder = cacheFolder();
  const found = existsSync(folder) ? binariesIn(folder) : undefined;
  if (found !== undefined) return found;
  const missing = `there is no control plane in ${folder}: npm run e2e builds it`;
  if (isContinuousIntegration()) throw new BinariesError(missing);
  return { missing };
}

const isContinuousIntegration = (): boolean => !["", "0", "false", undefined].includes(process.env.CI);

/** Helm 4 and Helm 3, of a module of their own, because their dependencies are not those of the control plane. */
const helmModule = fileURLToPath(new URL("helm/", import.meta.url));
const helms = { helm4: "helm.sh/helm/v4/cmd/helm", helm3: "helm.sh/helm/v3/cmd/helm" } as const;
export type Helm = keyof typeof helms;
export const helmNames = Object.keys(helms) as readonly Helm[];

/** Where both are, or why they are not there: as {@link findBinaries}. */
export function findHelms(): Readonly<Record<Helm, string>> | { readonly missing: string } {
  const folder = helmFolder();
  if (helmNames.every((name) => existsSync(join(folder, name))))
    return { helm4: join(folder, "helm4"), helm3: join(folder, "helm3") };
  const missing = `there is no Helm in ${folder}: npm run e2e builds it`;
  if (isContinuousIntegration()) throw new BinariesError(missing);
  return { missing };
}

/** Builds what is missing of both. Throws a BinariesError where that cannot be done. */
export function buildHelms(say: (line: string) => void): void {
  const folder = helmFolder();
  mkdirSync(folder, { recursive: true });
  for (const name of helmNames.filter((name) => !existsSync(join(folder, name)))) {
    requireGo();
    say(`building ${name}, which takes a minute or two the first time`);
    const unfinished = join(folder, `${name}.unfinished-${process.pid}`);
    const flags = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w"];
    const result = go(["build", ...flags, "-o", unfinished, helms[name]], 900, { cwd: helmModule });
    if (result.status !== 0) throw new BinariesError(`${name} could not be built: ${lastLine(result.stderr)}`);
    renameSync(unfinished, join(folder, name));
  }
}

function helmFolder(): string {
  const hash = createHash("sha256");
  for (const name of ["go.mod", "go.sum"]) hash.update(readFileSync(join(helmModule, name)));
  hash.update(JSON.stringify([process.platform, process.arch]));
  return join(cache, `helm-${hash.digest("hex").slice(0, 16)}`);
}

/** Builds what is missing. Throws a BinariesError where that cannot be done. */
export function buildBinaries(say: (line: string) => void): Binaries {
  const folder = cacheFolder();
  const there = existsSync(folder) ? binariesIn(folder) : undefined;
  if (there !== undefined) return there;
  requireGo();
  mkdirSync(dirname(folder), { recursive: true });
  const unfinished = mkdtempSync(`${folder}.unfinished-`);
  try {
    takeDefinitions(unfinished);
    for (const tool of toolNames.filter((tool) => assetPath(tool) === undefined)) build(tool, unfinished, say);
    finish(unfinished, folder);
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
  return binariesIn(folder) as Binaries;
}

/** Another run may have finished first. */
function finish(unfinished: string, folder: string): void {
  try {
    renameSync(unfinished, folder);
  } catch (error) {
    if (binariesIn(folder) === undefined) throw error;
  }
}

/** One folder for each combination of pinned versions, so that none is ever out of date. */
function cacheFolder(): string {
  const hash = createHash("sha256");
  for (const name of ["go.mod", "go.sum"]) hash.update(readFileSync(join(module, name)));
  hash.update(JSON.stringify([definitionModules, process.platform, process.arch, assets ?? ""]));
  return join(cache, hash.digest("hex").slice(0, 16));
}

/** A program from KUBEBUILDER_ASSETS, the convention of the field for programs that are there already. */
function assetPath(tool: Tool): string | undefined {
  const path = assets ? join(assets, tool) : "";
  return assets && existsSync(path) ? path : undefined;
}

function binariesIn(folder: string): Binaries | undefined {
  const paths = Object.fromEntries(toolNames.map((tool) => [tool, assetPath(tool) ?? join(folder, tool)]));
  const definitions = join(folder, "definitions");
  if (![...Object.values(paths), definitions].every((path) => existsSync(path))) return undefined;
  return { ...(paths as Record<Tool, string>), definitions };
}

function requireGo(): void {
  if (go(["version"], 30).status === 0) return;
  const wanting = toolNames.filter((tool) => assetPath(tool) === undefined);
  const where = assets ? `KUBEBUILDER_ASSETS (${assets}) lacks ${wanting.join(", ")}` : "KUBEBUILDER_ASSETS is not set";
  throw new BinariesError(
    `a real API server cannot be had: ${where}, and there is no Go to build it with (https://go.dev/dl, 1.26 or newer)`,
  );
}

interface Definitions {
  readonly path: string;
  readonly version: string;
  readonly sum: string;
  /** A file or a folder in the module. */
  readonly files: string;
}

function takeDefinitions(folder: string): void {
  for (const module of definitionModules) takeFiles(module, join(folder, "definitions"));
}

function takeFiles({ path, version, sum, files }: Definitions, target: string): void {
  const name = `${path}@${version}`;
  // Outside the module: go.mod of a newer Go is reported as an error, after the files have been unpacked and verified.
  const { stdout, stderr } = go(["mod", "download", "-json", name], 300, { cwd: cache });
  const { Sum } = JSON.parse(stdout || "{}") as { Sum?: string };
  if (Sum === undefined)
    throw new BinariesError(`${name} could not be downloaded: ${lastLine(stderr) || lastLine(stdout)}`);
  if (Sum !== sum) throw new BinariesError(`${name} is not what is pinned: its sum is ${Sum}, not ${sum}`);
  const source = join(go(["env", "GOMODCACHE"], 30).stdout.trim(), name, files);
  mkdirSync(target, { recursive: true });
  if (files.endsWith(".yaml")) copyFileSync(source, join(target, `${path.replaceAll("/", "_")}.yaml`));
  else cpSync(source, target, { recursive: true });
}

function build(tool: Tool, folder: string, say: (line: string) => void): void {
  say(`building ${tool}, which takes minutes the first time`);
  const version = kubernetesVersion();
  const [major, minor] = version.slice(1).split(".");
  // kubectl refuses a server that does not say its version.
  const variables = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"].flatMap((path) => [
    `-X ${path}.gitVersion=${version}`,
    `-X ${path}.gitMajor=${major}`,
    `-X ${path}.gitMinor=${minor}`,
  ]);
  const flags = ["-mod=mod", "-trimpath", "-buildvcs=false", "-ldflags", `-s -w ${variables.join(" ")}`];
  const result = go(["build", ...flags, "-o", join(folder, tool), tools[tool]], 1800);
  if (result.status !== 0) throw new BinariesError(`${tool} could not be built: ${lastLine(result.stderr)}`);
}

function kubernetesVersion(): string {
  const version = /^require k8s\.io\/kubernetes (v\S+)$/m.exec(readFileSync(join(module, "go.mod"), "utf8"))?.[1];
  if (version === undefined) throw new BinariesError(`${module}go.mod requires no k8s.io/kubernetes`);
  return version;
}

/** GOTOOLCHAIN stays as it is set: whoever forbids the download of another Go has a reason. */
function go(args: readonly string[], seconds: number, { cwd = module } = {}): SpawnSyncReturns<string> {
  return spawnSync("go", args, { cwd, encoding: "utf8", timeout: seconds * 1000, maxBuffer: 1 << 26 });
}

const lastLine = (text: string | null): string => (text ?? "").trim().split("\n").at(-1) ?? "";

if (import.meta.main) {
  try {
    const say = (line: string) => void process.stderr.write(`${line}\n`);
    buildBinaries(say);
    buildHelms(say);
    takeOptionalDefinitions(say);
    takePublished(say);
  } catch (error) {
    if (!(error instanceof BinariesError)) throw error;
    const rule = "=".repeat(80);
    const outcome = isContinuousIntegration() ? "" : "\nTHE END-TO-END TESTS ARE NOT RUN";
    process.stderr.write(`${rule}\n${error.message}${outcome}\n${rule}\n`);
    if (isContinuousIntegration()) process.exitCode = 1;
  }
}
