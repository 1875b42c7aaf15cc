import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { attacks, created, objectsOf, type Request, requestOf, type Way, type World } from "../attack/ways.ts";
import { kindOf } from "../../src/kube/kinds.ts";
import { type ControlPlane, type Output, startControlPlane } from "./control-plane.ts";
import { binaries, namespace, type Raw, send, skip, stored, succeeds } from "./environment.ts";
import { type Meshward, register, startMeshward } from "./meshward.ts";
import { until } from "./program.ts";

// The ways of test/attack whose first step must be denied, sent to a real API server with kubectl: what is registered, and what
// the match conditions leave out, decides here too. A denied step leaves the world as it was, so all of them share one.

const worlds: readonly World[] = ["sidecars", "ambient", "waypoints"];

for (const world of worlds)
  describe(`attacks in a mesh: ${world}`, { skip }, () => {
    let plane: ControlPlane;
    let meshward: Meshward;
    let uids: ReadonlyMap<string, string>;
    before(async () => {
      plane = await startControlPlane({ binaries: binaries(), definitions: true });
      meshward = await startMeshward({ plane });
      await meshward.ready();
      await succeeds(plane, ["apply", "--server-side", "--field-manager=platform", "-f", "-"], madeOf(world));
      uids = await uidsOf(world, plane);
      await seenAll(world, meshward);
      await register(plane, meshward);
    });
    after(async () => {
      await meshward?.stop();
      await plane?.close();
    });

    for (const way of [...attacks.values()].flat().filter((one) => isForOneRequest(one, world)))
      test(way.way, async () => {
        const [step] = way.do;
        assert.ok(step !== undefined);
        const { code, stderr } = await sent(withUids(requestOf(step), uids), plane);
        assert.equal(code, 1, `it was not denied: ${stderr}`);
        assert.match(stderr, /admission webhook "[a-z-]+\.validate\.meshward\.io" denied the request: /);
        if (way.by !== undefined) assert.ok(stderr.includes(`[${way.by}]`), stderr);
      });
  });

/** Whether it is one request, of the tenant, on the world as it is. */
function isForOneRequest(way: Way, world: World): boolean {
  const [step, ...others] = way.do;
  if (step === undefined || others.length > 0 || way.given !== undefined || way.due !== "denied") return false;
  return (way.in ?? ["sidecars"]).includes(world) && requestOf(step).requester === undefined;
}

/** Namespaces first, and without a uid, which the API server gives. */
function madeOf(world: World): readonly Raw[] {
  const objects = (objectsOf(world) as readonly Raw[]).map((raw) => {
    const { uid: _, ...metadata } = raw.metadata as Raw;
    return { ...raw, metadata };
  });
  const isNamespace = ({ kind }: Raw): boolean => kind === "Namespace";
  return [namespace("istio-system"), ...objects.filter(isNamespace), ...objects.filter((raw) => !isNamespace(raw))];
}

/** The uid that each object of a world with one really has. */
async function uidsOf(world: World, plane: ControlPlane): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  for (const { kind, metadata } of objectsOf(world) as readonly Raw[]) {
    if (metadata.uid === undefined) continue;
    const raw = await stored(plane, kind, metadata.name, metadata.namespace);
    found.set(metadata.uid, raw?.metadata.uid);
  }
  return found;
}
function withUids(request: Request, uids: ReadonlyMap<string, string>): Request {
  let text = JSON.stringify(request.body);
  for (const [written, real] of uids) text = text.replaceAll(written, real);
  return { ...request, body: JSON.parse(text) as Request["body"] };
}

function sent(request: Request, plane: ControlPlane): Promise<Output> {
  const { verb, name, namespace: where, body } = request;
  const resource = resourceOf(request);
  const target = [...(where === "" ? [] : ["--namespace", where]), verb, resource, name];
  if (verb === "create") return send(plane, ["create", "-f", "-"], { as: "tenant", objects: [created(request)] });
  if (verb === "delete") return send(plane, target, { as: "tenant" });
  return send(plane, [...target, "--type=merge", `--patch=${JSON.stringify(body)}`], { as: "tenant" });
}

/** In the version that a patch names. */
function resourceOf({ served: { group, plural }, body: { apiVersion } }: Request): string {
  if (typeof apiVersion === "string") return `${plural}.${apiVersion.split("/").reverse().join(".")}`;
  return group === "" ? plural : `${plural}.${group}`;
}

/** Waits until Meshward has received every object of the world that a rule reads. */
async function seenAll(world: World, meshward: Meshward): Promise<void> {
  const objects = Map.groupBy(objectsOf(world) as readonly Raw[], ({ apiVersion, kind }) => kindOf(apiVersion, kind));
  await until("Meshward to see the world", async () => {
    const metrics = (await meshward.ops("/metrics"))?.body ?? "";
    const counts = [...metrics.matchAll(/^meshward_view_objects\{kind="(\w+)"\} (\d+)$/gm)];
    const held = new Map(counts.map(([, kind = "", count]) => [kind, Number(count)]));
    // Of kinds that no rule reads there are no counts.
    const missing = [...objects].filter(([kind = "", { length }]) => (held.get(kind) ?? length) < length);
    if (held.size === 0 || missing.length > 0)
      throw new Error(missing.map(([kind = "", { length }]) => `${kind}: ${held.get(kind)} of ${length}`).join(", "));
    return true;
  });
}
