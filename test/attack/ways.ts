import { readdirSync, readFileSync } from "node:fs";
import { parse, parseAllDocuments } from "yaml";
import { allKinds, kinds, type Served } from "../../src/kube/kinds.ts";
import type { Raw } from "../admission/requests.ts";

// Ways to weaken a protected namespace, which a developer with edit rights tries, each beside harmless changes that look alike.
// A file of ways/ is one kind of attack:
//
//   way        what is tried; `in`: the worlds in which it is tried (sidecars, if it is not set)
//   given      steps that are done before, and must be allowed
//   do         steps, one after the other. `each`: values for "$each" in them, by name
//   due        what at least one step must get: `denied`, or `warned` (which the profile strict denies), or `open`: allowed
//              without a warning, with the reason in `because`
//   by         the rule that says it; `strict`: what the profile strict does, where that is not a denial
//   harmless   steps that must be allowed
//
// A step is `create`, `patch` (a JSON merge patch) or `delete`, a kind and a name, and perhaps `as` another requester.

export type Due = "denied" | "warned" | "open";
export type World = "sidecars" | "ambient" | "waypoints";
/** Larger worlds, for everyday operations. */
export type LargeWorld = "shop" | "bank";
export type Step = Readonly<Record<string, Raw | null>>;

export interface Way {
  readonly way: string;
  readonly in?: readonly World[];
  readonly given?: readonly Step[];
  /** What is given came about before the profile `strict`, which denies it. */
  readonly givenUnder?: "baseline";
  readonly do: readonly Step[];
  readonly each?: Readonly<Record<string, unknown>>;
  readonly due: Due;
  readonly because?: string;
  readonly by?: string;
  readonly strict?: Due;
  readonly harmless?: readonly (readonly Step[])[];
}

/** A step, read. */
export interface Request {
  readonly verb: "create" | "patch" | "delete";
  readonly served: Served;
  readonly name: string;
  /** "" for objects of the cluster. */
  readonly namespace: string;
  readonly requester: string | undefined;
  readonly body: Raw;
}

const here = new URL(".", import.meta.url);

/** The kinds of attack, each with its ways, one for each value of `each`. */
export const attacks: ReadonlyMap<string, readonly Way[]> = new Map(
  readdirSync(new URL("ways/", here))
    .sort()
    .map((file) => {
      const ways = parse(readFileSync(new URL(`ways/${file}`, here), "utf8")) as readonly Way[];
      return [file.replace(".yaml", ""), ways.flatMap(variants)];
    }),
);

/** The objects of a world, in an order in which they can be created. */
export function objectsOf(world: World | LargeWorld): readonly Raw[] {
  const text = readFileSync(new URL(`worlds/${world}.yaml`, here), "utf8");
  return parseAllDocuments(text).map((document) => document.toJS() as Raw);
}

export function requestOf(step: Step): Request {
  const text = Object.keys(step).join();
  const [, verb, istio, kind = "", target = "", , requester] =
    /^(create|patch|delete) (Istio )?(\w+) (\S+)( as (\w+))?$/.exec(text) ?? [];
  const served = istio === undefined ? servedKinds.get(kind) : kinds.Gateway.served[0];
  if (verb === undefined || served === undefined) throw new Error(`not a step: ${JSON.stringify(text)}`);
  const [name = "", namespace = ""] = target.split("/").reverse();
  return { verb: verb as Request["verb"], served, name, namespace, requester, body: step[text] ?? {} };
}

/** An object of the two kinds Gateway is that of the Gateway API, unless a step says Istio. */
const servedKinds = new Map(
  allKinds
    .filter((kind) => kind !== "Gateway")
    .flatMap((kind) => kinds[kind].served)
    .map((served) => [served.kind, served]),
);

/** The object that a step creates. */
export function created({ served, name, namespace, body }: Request): Raw {
  const { metadata, ...rest } = body;
  return {
    apiVersion: `${served.group === "" ? "" : `${served.group}/`}${served.versions[0] ?? "v1"}`,
    kind: served.kind,
    metadata: { ...(metadata as Raw), name, ...(served.namespaced ? { namespace } : {}) },
    ...rest,
  };
}

function variants(way: Way): readonly Way[] {
  if (way.each === undefined) return [way];
  return Object.entries(way.each).map(([name, value], i) => ({
    ...way,
    way: `${way.way}: ${name}`,
    do: filledIn(way.do, value) as readonly Step[],
    harmless: i === 0 ? (way.harmless ?? []) : [],
  }));
}

function filledIn(part: unknown, value: unknown): unknown {
  if (part === "$each") return value;
  if (Array.isArray(part)) return part.map((item) => filledIn(item, value));
  if (typeof part !== "object" || part === null) return part;
  return Object.fromEntries(Object.entries(part).map(([key, inner]) => [key, filledIn(inner, value)]));
}
