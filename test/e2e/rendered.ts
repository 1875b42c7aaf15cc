import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseAllDocuments, type Tags } from "yaml";
import type { KubernetesObject } from "../../src/deploy/object.ts";
import { findHelms, type Helm } from "./binaries.ts";
import { binaries } from "./environment.ts";

// The objects that helm and kustomize make of deploy/.

export const chart = fileURLToPath(new URL("../../deploy/chart/meshward/", import.meta.url));
export const kustomizations = fileURLToPath(new URL("../../deploy/kustomize/", import.meta.url));

const helms = findHelms();
export const noHelm: string | false = "missing" in helms ? helms.missing : false;

export type Values = Readonly<Record<string, unknown>>;
/** The values under which the chart can be rendered, in the namespace that installations have by default. */
export const inNamespace = ["--namespace", "meshward-system"] as const;

/** The oldest Kubernetes that the chart is for, which also stands in for the version that a build of Helm does not know. */
export const oldest = ["--kube-version", "1.30.0"] as const;

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs helm with values in a file, and without what the user has configured. */
export function helm(which: Helm, args: readonly string[], values: Values = {}): Ran {
  const { path, line, env, close } = prepared(which, args, values);
  try {
    const { status, stdout, stderr } = spawnSync(path, line, {
      encoding: "utf8",
      timeout: 120_000,
      maxBuffer: 1 << 26,
      env,
    });
    return { code: status, stdout, stderr };
  } finally {
    close();
  }
}

/** The same for a cluster, while this process does what helm waits for. */
export function helmOn(kubeconfig: string, which: Helm, args: readonly string[], values: Values = {}): Promise<Ran> {
  const { path, line, env, close } = prepared(which, args, values);
  return new Promise((resolve) => {
    execFile(path, line, { timeout: 240_000, env: { ...env, KUBECONFIG: kubeconfig } }, (error, stdout, stderr) => {
      close();
      resolve({
        code: error === null ? 0 : 1,
        stdout,
        stderr: error?.killed ? `${stderr}\nhelm took too long` : stderr,
      });
    });
  });
}

function prepared(which: Helm, args: readonly string[], values: Values) {
  if ("missing" in helms) throw new Error(helms.missing);
  const home = mkdtempSync(join(tmpdir(), "meshward-helm-"));
  // JSON, because Helm reads YAML of version 1.1, in which `yes` and `0440` are no strings.
  const file = join(home, "values.json");
  writeFileSync(file, JSON.stringify(values));
  const takesValues = ["template", "install", "upgrade", "lint"].includes(args[0] ?? "");
  return {
    path: helms[which],
    line: [...args, ...(takesValues ? ["--values", file] : [])],
    env: { PATH: process.env["PATH"], HOME: home },
    close: () => rmSync(home, { recursive: true }),
  };
}

export function chartObjects(which: Helm, values: Values = {}): readonly KubernetesObject[] {
  const { code, stdout, stderr } = helm(which, ["template", "meshward", chart, ...inNamespace, ...oldest], values);
  assert.equal(code, 0, stderr);
  return objectsIn(stdout);
}

export function kustomizeObjects(folder: string): readonly KubernetesObject[] {
  const { status, stdout, stderr } = spawnSync(binaries().kubectl, ["kustomize", folder], {
    encoding: "utf8",
    timeout: 60_000,
    maxBuffer: 1 << 26,
  });
  assert.equal(status, 0, stderr);
  return objectsIn(stdout);
}

/** Read as kubectl and Helm read it: as YAML 1.1, except for what only has a type there if a program asks for it. */
export const objectsIn = (text: string): readonly KubernetesObject[] =>
  parseAllDocuments(text, { version: "1.1", schema: "yaml-1.1", customTags: withoutTimes }).flatMap((document) => {
    assert.deepEqual(document.errors, []);
    const object = document.toJS() as KubernetesObject | null;
    return object === null ? [] : [object];
  });

const withoutTimes = (tags: Tags): Tags =>
  tags.filter((tag) => typeof tag === "string" || tag.tag !== "tag:yaml.org,2002:timestamp");

/** Belongs to Helm's own life cycle, and to no other way of installing. */
export const isHook = ({ metadata }: KubernetesObject): boolean => metadata.annotations?.["helm.sh/hook"] !== undefined;

/** Objects by name, without what tells only who has written them. */
export function comparable(objects: readonly KubernetesObject[]): Readonly<Record<string, unknown>> {
  const entries = objects.map((object) => {
    const { labels = {}, ...metadata } = object.metadata;
    const kept = Object.entries(labels).filter(([key]) => !writersLabels.has(key));
    const key = `${object.kind} ${metadata.namespace ?? ""}/${metadata.name}`;
    return [key, { ...object, metadata: { ...metadata, labels: Object.fromEntries(kept) } }] as const;
  });
  assert.equal(new Set(entries.map(([key]) => key)).size, entries.length, "two objects have one name");
  return Object.fromEntries(entries);
}
const writersLabels = new Set(["app.kubernetes.io/managed-by", "helm.sh/chart"]);
