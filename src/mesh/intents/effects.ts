import type { AnyObject } from "../../kube/object.ts";
import type { Change } from "../../view/overlay.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { places } from "../authorization/requests/matches.ts";
import type { Entry } from "./intents.ts";
import { changeOfPolicy, type PolicyChange } from "./policy-change.ts";

/**
 * What one change can do to requests, whatever else is in the mesh.
 * - `nothing`: what becomes of them is the same.
 * - `denies`: more of them are denied at some places, and nothing else changes.
 * - `allows`: fewer of them are denied at some places, and nothing else changes.
 * - `any`: this is not known.
 */
export type Effect = "nothing" | "denies" | "allows" | "any";

const known = new WeakMap<Change, { readonly settings: MeshSettings; readonly effect: Effect }>();

/** The effect of a change that is the only one. It is computed once, because a change of the root namespace reaches many intents. */
export function effectOf(change: Change, settings: MeshSettings): Effect {
  const found = known.get(change);
  if (found?.settings === settings) return found.effect;
  const effect = computed(change, settings);
  known.set(change, { settings, effect });
  return effect;
}

/**
 * Whether a change with this effect can end what an entry expects. More denials end no denial, and fewer end no permission. Where
 * requests are routed, and whether they are encrypted, is not decided by policies, but a waypoint that denies a request does not
 * route it.
 */
export function canEnd(effect: Effect, { expect }: Entry): boolean {
  if (effect === "nothing") return false;
  if (effect === "denies") return expect !== "denied" && expect !== "encrypted";
  return effect === "any" || expect !== "allowed";
}

function computed(change: Change, settings: MeshSettings): Effect {
  const { old, object } = change;
  if (old?.malformed !== undefined || object?.malformed !== undefined) return "any";
  if (old !== undefined && object !== undefined && isSame(old, object)) return "nothing";
  const isOfPolicy = [old, object].every((one) => one === undefined || one.kind === "AuthorizationPolicy");
  const changed = isOfPolicy ? changeOfPolicy(change, settings) : undefined;
  return changed === undefined ? "any" : ofPolicies(changed);
}

/** The kinds of which no annotation is read, but those of Istio. */
const configuration: ReadonlySet<string> = new Set([
  "AuthorizationPolicy",
  "PeerAuthentication",
  "RequestAuthentication",
  "DestinationRule",
  "VirtualService",
  "Sidecar",
]);

/** Whether two versions of an object differ in nothing that decides about requests, such as an annotation of a deployment tool. */
const isSame = (old: AnyObject, object: AnyObject): boolean =>
  configuration.has(object.kind) && decisiveOf(old) === decisiveOf(object);

/** Fields are read in a fixed order; labels that are written in another order count as others. */
function decisiveOf({ metadata, ...object }: AnyObject): string {
  const { annotations, resourceVersion: _version, ownerReferences: _owners, ...rest } = metadata;
  const ofIstio = Object.entries(annotations).filter(([name]) => /(^|\.)istio\.io\//u.test(name));
  return JSON.stringify([object, rest, ofIstio]);
}

/** The first ALLOW policy of a workload denies what it does not allow, and allows what others do not. */
function ofPolicies({ policies, isSameScope, allowing, denying, isOfDefault }: PolicyChange): Effect {
  if (isOfDefault || (policies.length > 1 && !isSameScope)) return "any";
  const [allows, denies] = [allowing, denying].map((matches) => places.some((place) => matches[place].length > 0));
  if (allows && denies) return "any";
  if (allows) return "allows";
  return denies ? "denies" : "nothing";
}
