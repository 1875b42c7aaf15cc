import assert from "node:assert/strict";
import { after } from "node:test";
import { servedAs } from "../../src/kube/kinds.ts";
import { findBinaries } from "./binaries.ts";
import { type ControlPlane, type KubectlOptions, type Output, startControlPlane } from "./control-plane.ts";
import { type Meshward, register, startMeshward } from "./meshward.ts";
import { until } from "./program.ts";
import { users } from "./users.ts";

// One control plane and one Meshward for all files that only send requests; those that break something start their own.

// oxlint-disable-next-line no-explicit-any -- manifests are built and changed field by field
export type Raw = Record<string, any>;

export interface Environment {
  readonly plane: ControlPlane;
  readonly meshward: Meshward;
}

const found = findBinaries();
/** Why the tests cannot run here, or false. Where CI is set, this is an error instead. */
export const skip: string | false = "missing" in found ? found.missing : false;

export const binaries = () => {
  if ("missing" in found) throw new Error(found.missing);
  return found;
};

/** Protects `billing`, and whatever is labelled so; its security team may break glass. */
export const policies: readonly object[] = [
  {
    apiVersion: "meshward.io/v1alpha1",
    kind: "MeshwardPolicy",
    metadata: { name: "billing" },
    spec: {
      protectedNamespaces: { names: ["billing"], labels: { "meshward.io/protected": "true" } },
      breakGlass: { groups: users.security.groups },
    },
  },
];

let shared: Promise<Environment> | undefined;
const closing: (() => Promise<void>)[] = [];

export const environment = (): Promise<Environment> => (shared ??= start());

async function start(): Promise<Environment> {
  const plane = await startControlPlane({ binaries: binaries(), controllers: true, definitions: true });
  closing.push(() => plane.close());
  await makeLegacy(plane);
  const meshward = await startMeshward({ plane, policies });
  closing.unshift(() => meshward.stop());
  await meshward.ready();
  await register(plane, meshward);
  return { plane, meshward };
}

after(async () => {
  for (const close of closing) await close();
});

/** A namespace from the time before Meshward, with a mistake in it that nobody has stopped. */
export const legacy = { namespace: "legacy", virtualService: "unbalanced" } as const;
const makeLegacy = (plane: ControlPlane): Promise<Output> =>
  succeeds(
    plane,
    ["apply", "--server-side", "--field-manager=platform", "-f", "-"],
    [
      {
        ...istioSystem,
        metadata: { ...istioSystem.metadata, annotations: { "meshward.io/break-glass": "start over" } },
      },
      namespace(legacy.namespace),
      virtualService(legacy.namespace, legacy.virtualService, [60, 60]),
    ],
  );

export const manifest = (...objects: readonly object[]): string =>
  JSON.stringify(objects.length === 1 ? objects[0] : { apiVersion: "v1", kind: "List", items: objects });

export const namespace = (name: string, labels: Readonly<Record<string, string>> = {}): Raw => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name, ...(Object.keys(labels).length > 0 ? { labels } : {}) },
});

const istioSystem = namespace("istio-system");

/** Routes to hosts of their own, one for each weight: it needs no DestinationRule. */
export const virtualService = (namespace: string, name: string, weights: readonly number[], version = "v1"): Raw => ({
  apiVersion: `networking.istio.io/${version}`,
  kind: "VirtualService",
  metadata: { name, namespace },
  spec: {
    hosts: [`${name}.example.com`],
    http: [{ route: weights.map((weight, i) => ({ destination: { host: `${name}-${i + 1}.example.com` }, weight })) }],
  },
});

type Sent = KubectlOptions & { readonly objects?: readonly object[] };

/** kubectl, whose exit code and output the caller judges. */
export const send = (
  plane: ControlPlane,
  args: readonly string[],
  { objects, ...options }: Sent = {},
): Promise<Output> =>
  plane.kubectl(args, objects === undefined ? options : { ...options, input: manifest(...objects) });

export async function succeeds(
  plane: ControlPlane,
  args: readonly string[],
  objects?: readonly object[],
  options: KubectlOptions = {},
): Promise<Output> {
  const output = await send(plane, args, objects === undefined ? options : { ...options, objects });
  assert.equal(output.code, 0, `kubectl ${args.join(" ")}: ${output.stderr}`);
  return output;
}

/** Refused by Meshward, by nothing else, in words that a person can act on. */
export function isDenied({ code, stderr }: Output, ...texts: readonly RegExp[]): void {
  assert.equal(code, 1, `it was not denied: ${stderr}`);
  const [, said = ""] = stderr.split(/admission webhook "[a-z-]+\.validate\.meshward\.io" denied the request: /);
  assert.notEqual(said, "", `Meshward did not deny it: ${stderr}`);
  assert.match(said, /^ +Fix: \S/m);
  assert.match(said, /^More: https:\/\/\S+\.md/m);
  assert.doesNotMatch(said, /\\n|\\"|undefined|\[object/);
  for (const text of texts) assert.match(said, text);
}

/** Done, with exactly as many warnings as are expected, each matched by one. */
export function isWarned({ code, stderr }: Output, ...texts: readonly RegExp[]): void {
  assert.equal(code, 0, stderr);
  // The reason and the fix stand on lines of their own where they are long: they belong to the warning before them.
  const warnings = warningsOf(stderr).filter((line) => !/: \[[a-z0-9-]+\] (?:Fix: |It is only a warning)/.test(line));
  assert.equal(warnings.length, texts.length, `warnings: ${warnings.join("\n")}`);
  for (const text of texts)
    assert.ok(
      warnings.some((warning) => text.test(warning)),
      `${text} is not in: ${warnings.join("\n")}`,
    );
}
export const isQuiet = (output: Output): void => isWarned(output);

/** Done, and nothing is said about what these words name; other rules may have their say. */
export function isFree({ code, stderr }: Output, about: RegExp): void {
  assert.equal(code, 0, stderr);
  assert.doesNotMatch(stderr, about);
}

export const warningsOf = (stderr: string): readonly string[] =>
  stderr.split("\n").filter((line) => line.startsWith("Warning: "));

/**
 * Waits until Meshward's picture holds as many objects of each kind as the API server does. What was changed without
 * being made or removed has come by then too, or comes in the same breath.
 */
export async function seen({ plane, meshward }: Environment): Promise<void> {
  await until("Meshward to see what was written", async () => {
    const metrics = (await meshward.ops("/metrics"))?.body ?? "";
    for (const kind of watched) {
      const listed = JSON.parse((await plane.get(pathOf(kind))).body) as { items: unknown[] };
      const held = new RegExp(`^meshward_view_objects\\{kind="${kind}"\\} (\\d+)$`, "m").exec(metrics)?.[1];
      if (Number(held) !== listed.items.length) throw new Error(`${kind}: ${held} of ${listed.items.length}`);
    }
    return true;
  });
}
const watched = ["VirtualService", "DestinationRule", "PeerAuthentication", "AuthorizationPolicy", "Service"] as const;
function pathOf(kind: (typeof watched)[number]): string {
  const { group, versions, plural } = servedAs(kind, kind);
  return `${group === "" ? "/api" : `/apis/${group}`}/${versions[0]}/${plural}`;
}

/** An object as it is stored; undefined where there is none. */
export async function stored(
  plane: ControlPlane,
  kind: string,
  name: string,
  namespace?: string,
): Promise<Raw | undefined> {
  const where = namespace === undefined ? [] : ["--namespace", namespace];
  const args = ["get", kind, name, "--ignore-not-found", "--output=json", "--show-managed-fields", ...where];
  const { code, stdout, stderr } = await plane.kubectl(args);
  assert.equal(code, 0, stderr);
  return stdout.trim() === "" ? undefined : (JSON.parse(stdout) as Raw);
}
