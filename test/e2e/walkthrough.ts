import assert from "node:assert/strict";
import { join } from "node:path";
import { readManifests } from "../../src/sources/manifests/manifests.ts";
import type { Environment, Raw } from "./environment.ts";
import { namespace, seen, send, succeeds } from "./environment.ts";
import { until } from "./program.ts";
import { deployment, service } from "./workloads.ts";

// The manifests that test/walkthrough replays without an API server.

const folder = join(import.meta.dirname, "../walkthrough");

/** All objects of the files that begin so, in their order, with a namespace each as kubectl would give it. */
export async function objectsIn(...numbers: readonly string[]): Promise<readonly Raw[]> {
  const { manifests, errors } = await readManifests([folder]);
  assert.deepEqual(errors, []);
  return manifests
    .filter(({ file }) => numbers.some((number) => file.includes(`/${number}-`)))
    .map(({ raw }) => structuredClone(raw) as Raw);
}

export async function objectNamed(
  kind: string,
  name: string,
  change: (raw: Raw) => void = () => undefined,
): Promise<Raw> {
  const all = await objectsIn("01", "02", "03", "04", "05");
  const found = all.find((raw) => raw.kind === kind && raw.metadata.name === name);
  assert.ok(found, `no ${kind} ${name} in ${folder}`);
  change(found);
  return found;
}

/** What runs in the cluster besides what the manifests make. */
export const background = (): readonly Raw[] =>
  [
    ["billing", "invoices"],
    ["storefront", "checkout"],
    ["default", "catalog"],
  ].flatMap(([where = "", name = ""]) => [deployment(where, name), service(where, name)]);

const mesh = "virtualservices,destinationrules,peerauthentications,authorizationpolicies";

/**
 * The cluster before the first step, with the two namespaces and what runs there. What tests have left is protected, so
 * that it takes the security team and a reason to clear it away.
 */
export async function startOver(environment: Environment): Promise<void> {
  const { plane } = environment;
  const objects = [namespace("billing"), namespace("storefront"), ...background()];
  await succeeds(plane, ["apply", "--server-side", "--field-manager=platform", "-f", "-"], objects);
  const reason = "meshward.io/break-glass=a test starts over";
  await succeeds(plane, ["annotate", "--overwrite", "namespace", "billing", "storefront", reason]);
  const security = { as: "security" } as const;
  await seen(environment);
  // Changes of annotations are not reviewed, so that the watch has to show them first.
  for (const where of ["billing", "storefront", "default"])
    await until(`what is in ${where} to be deleted`, async () => {
      const { code, stderr } = await send(plane, ["--namespace", where, "delete", mesh, "--all"], security);
      if (code !== 0) throw new Error(stderr);
      return true;
    });
  await seen(environment);
  await succeeds(plane, ["--namespace", "istio-system", "delete", mesh, "--all"], undefined, security);
  await seen(environment);
}

/** The cluster before there was anything. */
export async function startFromNothing(environment: Environment): Promise<void> {
  const { plane } = environment;
  await succeeds(plane, ["delete", "namespace", "billing", "storefront", "--ignore-not-found", "--timeout=120s"]);
  await seen(environment);
}

/** Until the clock shows another second than now: of two objects of one second the name decides which is older. */
export async function nextSecond(): Promise<void> {
  const now = Math.floor(Date.now() / 1000);
  await until("the next second", () => (Math.floor(Date.now() / 1000) > now ? true : undefined));
}
