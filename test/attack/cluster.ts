import { createGate } from "../../src/admission/gate.ts";
import type { Decision } from "../../src/admission/review.ts";
import { keyOf } from "../../src/kube/identity.ts";
import { readAny } from "../../src/kube/object.ts";
import type { Policies } from "../../src/policy/policies.ts";
import { rules } from "../../src/rules/index.ts";
import { decidesSettings, defaultMeshSettings, meshSettingsOf, settingsObjects } from "../../src/view/settings.ts";
import { MeshStore, rebuilt } from "../../src/view/store.ts";
import { type Raw, type RequestParts, reviewed } from "../admission/requests.ts";
import { created, type Request, requestOf, type Step } from "./ways.ts";

const requesters: Readonly<Record<string, Partial<RequestParts>>> = {
  flux: { user: "system:serviceaccount:flux-system:kustomize-controller", fieldManager: "kustomize-controller" },
  helm: { fieldManager: "helm" },
  argo: { user: "system:serviceaccount:argo-rollouts:argo-rollouts", fieldManager: "rollouts-controller" },
  flagger: { user: "system:serviceaccount:flagger-system:flagger", fieldManager: "flagger" },
  velero: { user: "system:serviceaccount:velero:velero-server", fieldManager: "velero-server" },
  controller: { user: "system:serviceaccount:kube-system:deployment-controller" },
  istiod: { user: "system:serviceaccount:istio-system:istiod", groups: ["system:serviceaccounts:istio-system"] },
};

/** A cluster in memory that stores what Meshward allows. Every object is a minute younger than the one before it. */
export class Cluster {
  readonly #stored = new Map<string, Raw>();
  #policies: Policies;
  #mesh = new MeshStore(defaultMeshSettings);
  #now = Date.UTC(2026, 0, 1);

  constructor(objects: readonly Raw[], policies: Policies) {
    this.#policies = policies;
    for (const object of objects) this.#store(this.#dated(object));
  }

  /** Other policies are in force from now on. */
  follow(policies: Policies): void {
    this.#policies = policies;
  }

  /** The decision about one step; the step is stored if it is allowed. */
  request(step: Step): Decision {
    const request = requestOf(step);
    const key = keyOfRaw(created(request));
    const oldObject = this.#stored.get(key);
    if (request.verb !== "create" && oldObject === undefined) throw new Error(`there is no ${key}`);
    const object = this.#written(request, oldObject);
    const decision = this.#decided({ object, oldObject, ...requesterOf(request) });
    if (decision.allowed) this.#apply(key, object, oldObject);
    return decision;
  }

  #apply(key: string, object: Raw | undefined, old: Raw | undefined): void {
    if (object !== undefined && !isGone(object)) this.#store(object);
    else if (object === undefined && old !== undefined && hasFinalizers(old))
      this.#store(merged(old, { metadata: { deletionTimestamp: this.#nextTime() } }) as Raw);
    else if (old !== undefined) this.#remove(key, old);
  }

  #decided(parts: RequestParts): Decision {
    const gate = createGate({ mesh: () => this.#mesh, rules, policies: () => this.#policies });
    return gate.validate(reviewed(parts));
  }

  #written(request: Request, old: Raw | undefined): Raw | undefined {
    if (request.verb === "delete") return undefined;
    return request.verb === "create" ? this.#dated(created(request)) : (merged(old, request.body) as Raw);
  }

  #dated(raw: Raw): Raw {
    return { ...raw, metadata: { ...(raw.metadata as Raw), creationTimestamp: this.#nextTime() } };
  }

  #nextTime(): string {
    return new Date((this.#now += 60_000)).toISOString();
  }

  #store(raw: Raw): void {
    this.#stored.set(keyOfRaw(raw), raw);
    const object = readAny(raw);
    if (object === undefined) return;
    this.#mesh.set(object);
    if (decidesSettings(object)) this.#followSettings();
  }

  #remove(key: string, raw: Raw): void {
    this.#stored.delete(key);
    const object = readAny(raw);
    if (object === undefined) return;
    this.#mesh.delete(object.kind, keyOf(object));
    if (decidesSettings(object)) this.#followSettings();
  }

  #followSettings(): void {
    this.#mesh = rebuilt(this.#mesh, meshSettingsOf(settingsObjects(this.#mesh)));
  }
}

function requesterOf({ requester }: Request): Partial<RequestParts> {
  if (requester === undefined) return {};
  const found = requesters[requester];
  if (found === undefined) throw new Error(`not a requester: ${requester}`);
  return found;
}

const hasFinalizers = ({ metadata }: Raw): boolean =>
  ((metadata as Raw)["finalizers"] as unknown[] | undefined)?.[0] !== undefined;
/** An object whose deletion waited for its finalizers, without any. */
const isGone = (raw: Raw): boolean =>
  (raw["metadata"] as Raw)["deletionTimestamp"] !== undefined && !hasFinalizers(raw);

/** All versions of a resource are one object. */
function keyOfRaw({ apiVersion, kind, metadata }: Raw): string {
  const { name, namespace } = metadata as { readonly name: string; readonly namespace?: string };
  const [group = ""] = String(apiVersion).includes("/") ? String(apiVersion).split("/") : [];
  return `${group}/${String(kind)} ${namespace === undefined ? "" : `${namespace}/`}${name}`;
}

const isMap = (value: unknown): value is Raw => typeof value === "object" && value !== null && !Array.isArray(value);

/** A JSON merge patch (RFC 7396). */
function merged(old: unknown, patch: unknown): unknown {
  if (!isMap(patch)) return patch;
  const result = new Map(Object.entries(isMap(old) ? old : {}));
  for (const [name, value] of Object.entries(patch))
    if (value === null) result.delete(name);
    else result.set(name, merged(result.get(name), value));
  return Object.fromEntries(result);
}
