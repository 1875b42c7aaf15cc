import { defaultInstallation, installation, type InstallationOptions } from "../deploy/installation.ts";
import type { KubernetesObject } from "../deploy/object.ts";
import { yamlOf, yamlText } from "../deploy/yaml.ts";
import type { Rule } from "../engine/rule.ts";
import { isObject, member } from "../kube/read.ts";
import { generatedNote } from "./chart.ts";
import type { GeneratedFile } from "./rule-pages.ts";

const folder = "deploy/kustomize";

/** What can be added to the base, in any combination. Each becomes a component, and an overlay of the base with it. */
export const kustomizeOptions: Readonly<Record<string, Partial<InstallationOptions>>> = {
  "cert-manager": { certificates: "cert-manager" },
  "fail-closed": { failurePolicy: "Fail" },
  "fail-open": { protectedFailurePolicy: "Ignore" },
  monitoring: { monitoring: true },
  ha: { replicas: 5, spread: "required" },
  "no-network-policy": { networkPolicy: false },
  strict: { profile: "strict" },
};

export function kustomizeFiles(rules: readonly Rule[]): readonly GeneratedFile[] {
  const base = installation(rules, defaultInstallation);
  const components = Object.entries(kustomizeOptions).flatMap(([name, options]) => {
    const files = componentFiles(base, installation(rules, { ...defaultInstallation, ...options }));
    return files.length === 0
      ? []
      : [...files.map(([file, content]) => at(`components/${name}/${file}`, content)), overlay(name)];
  });
  const groups = Map.groupBy(base, ({ kind }) => fileOf(kind));
  return [
    at("base/kustomization.yaml", kustomization("Kustomization", { resources: [...groups.keys()] })),
    ...[...groups].map(([file, objects]) => at(`base/${file}`, yamlOf(objects))),
    ...components,
  ];
}

const at = (path: string, content: string): GeneratedFile => ({
  path: `${folder}/${path}`,
  content: `# ${generatedNote}\n${content}`,
});

const kustomization = (kind: "Kustomization" | "Component", fields: object): string =>
  yamlText({ apiVersion: `kustomize.config.k8s.io/${kind === "Component" ? "v1alpha1" : "v1beta1"}`, kind, ...fields });

const overlay = (name: string): GeneratedFile =>
  at(
    `overlays/${name}/kustomization.yaml`,
    kustomization("Kustomization", { resources: ["../../base"], components: [`../../components/${name}`] }),
  );

function fileOf(kind: string): string {
  if (kind === "Namespace") return "namespace.yaml";
  if (kind === "CustomResourceDefinition") return "definitions.yaml";
  if (/Role|ServiceAccount/.test(kind)) return "permissions.yaml";
  if (kind.endsWith("WebhookConfiguration")) return "webhooks.yaml";
  return kind === "Issuer" || kind === "Certificate" ? "cert-manager.yaml" : "workload.yaml";
}

const idOf = ({ kind, metadata }: KubernetesObject): string => `${kind} ${metadata.namespace} ${metadata.name}`;

/** The files of a component that turns the objects of the base into others, by what they add, remove and change. */
function componentFiles(
  base: readonly KubernetesObject[],
  wanted: readonly KubernetesObject[],
): readonly (readonly [file: string, content: string])[] {
  const before = new Map(base.map((object) => [idOf(object), object]));
  const after = new Map(wanted.map((object) => [idOf(object), object]));
  const added = wanted.filter((object) => !before.has(idOf(object)));
  const removed = base.filter((object) => !after.has(idOf(object))).map(removal);
  const changed = base.flatMap((object) => {
    const operations = differences(object, after.get(idOf(object)) ?? object);
    return operations.length > 0 ? [{ target: targetOf(object), patch: yamlText(operations) }] : [];
  });
  const patches = [...removed, ...changed];
  if (added.length + patches.length === 0) return [];
  const fields = {
    ...(added.length > 0 ? { resources: ["resources.yaml"] } : {}),
    ...(patches.length > 0 ? { patches } : {}),
  };
  return [
    ["kustomization.yaml", kustomization("Component", fields)],
    ...(added.length > 0 ? [["resources.yaml", yamlOf(added)] as const] : []),
  ];
}

const targetOf = ({ apiVersion, kind, metadata }: KubernetesObject) => {
  const [group, version] = apiVersion.includes("/") ? apiVersion.split("/") : ["", apiVersion];
  return {
    ...(group === "" ? {} : { group }),
    version,
    kind,
    name: metadata.name,
    ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
  };
};

const removal = (object: KubernetesObject) => {
  const { apiVersion, kind, metadata } = object;
  const { name, namespace } = metadata;
  const patch = {
    apiVersion,
    kind,
    metadata: { name, ...(namespace === undefined ? {} : { namespace }) },
    $patch: "delete",
  };
  return { target: targetOf(object), patch: yamlText(patch) };
};

interface Operation {
  readonly op: "add" | "remove" | "replace";
  readonly path: string;
  readonly value?: unknown;
}

/** The operations of RFC 6902 between two objects. */
function differences(before: unknown, after: unknown, path = ""): readonly Operation[] {
  if (JSON.stringify(before) === JSON.stringify(after)) return [];
  if (Array.isArray(before) && Array.isArray(after)) return differencesOfLists(before, after, path);
  if (!isObject(before) || !isObject(after)) return [{ op: "replace", path, value: after }];
  const below = (key: string) => `${path}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`;
  return [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap((key): readonly Operation[] => {
    if (!(key in after)) return [{ op: "remove", path: below(key) }];
    if (!(key in before)) return [{ op: "add", path: below(key), value: after[key] }];
    return differences(before[key], after[key], below(key));
  });
}

/**
 * What is appended is appended, so that several components can append to one list. A list whose named elements are not
 * the same ones is replaced.
 */
function differencesOfLists(before: readonly unknown[], after: readonly unknown[], path: string): readonly Operation[] {
  const common = Math.min(before.length, after.length);
  if (before.slice(0, common).some((value, i) => member(value, "name") !== member(after[i], "name")))
    return [{ op: "replace", path, value: after }];
  return [
    ...before.slice(0, common).flatMap((value, i) => differences(value, after[i], `${path}/${i}`)),
    ...after.slice(common).map((value): Operation => ({ op: "add", path: `${path}/-`, value })),
    // From the end, because each removal moves what follows.
    ...before.slice(common).map((_, i): Operation => ({ op: "remove", path: `${path}/${before.length - 1 - i}` })),
  ];
}
