import type { ObjectMetadata, ObjectOf } from "../../kube/object.ts";

type Workload = ObjectOf<"Workload">;
export type OwnerReference = ObjectMetadata["ownerReferences"][number];

/**
 * The kinds that own pods of other workloads, as `group/kind`, and the kinds that their controllers create. Everything
 * else in ownerReferences is a claim that no controller made: Deployments, StatefulSets and DaemonSets are never owned by
 * a workload.
 */
const created: ReadonlyMap<string, string> = new Map([
  ["apps/Deployment", "ReplicaSet"],
  ["argoproj.io/Rollout", "ReplicaSet"],
  ["batch/CronJob", "Job"],
  ["apps/ReplicaSet", "Pod"],
  ["apps/StatefulSet", "Pod"],
  ["apps/DaemonSet", "Pod"],
  ["batch/Job", "Pod"],
  ["/ReplicationController", "Pod"],
]);

export const groupOf = (apiVersion: string): string => {
  const slash = apiVersion.indexOf("/");
  return slash < 0 ? "" : apiVersion.slice(0, slash);
};

/**
 * The workload that controls this one, by its ownerReferences: the only reference with `controller: true`, of a kind that
 * creates this kind. Anyone may write ownerReferences: workload-owner-not-found checks changes that do. In a cluster, the
 * garbage collector deletes an object whose owner does not exist or has another uid (kubernetes
 * pkg/controller/garbagecollector/garbagecollector.go attemptToDeleteItem).
 */
export function controllerOf(workload: Workload): OwnerReference | undefined {
  const controllers = workload.metadata.ownerReferences.filter(({ controller }) => controller === true);
  const [owner] = controllers;
  if (owner === undefined || controllers.length > 1) return undefined;
  return created.get(`${groupOf(owner.apiVersion)}/${owner.kind}`) === workload.originKind ? owner : undefined;
}

/**
 * Whether the workload has a name that the controller of this owner gives. Others are not its own, although their owner
 * exists: a StatefulSet, for example, ignores them. `kubectl create job --from` gives a Job of a CronJob any name.
 */
export function isNamedAfter(
  { originKind, metadata: { name, generateName } }: Workload,
  owner: OwnerReference,
): boolean {
  if (originKind === "Job") return true;
  const prefix = `${owner.name}-`;
  // Kubernetes pkg/controller/statefulset/stateful_set_utils.go isMemberOf.
  if (owner.kind === "StatefulSet") return name.startsWith(prefix) && /^\d+$/.test(name.slice(prefix.length));
  return (name || generateName || "").startsWith(prefix.slice(0, mostOfGeneratedName));
}

/**
 * Kubernetes shortens the name that it generates a name from to 58 characters (apiserver pkg/storage/names/generate.go);
 * the pods of an indexed Job keep at least this many.
 */
const mostOfGeneratedName = 40;

/**
 * The workloads of which any one confirms that the owner exists, as `kind/name`. A view of a live cluster does not contain
 * owned workloads, so a ReplicaSet that a Deployment owns is confirmed by the Deployment after which it is named, and a Job
 * by any CronJob, because its name is free.
 */
export function confirmedBy({ kind, name }: OwnerReference): (workload: Workload) => boolean {
  const deployment = name.slice(0, Math.max(0, name.lastIndexOf("-")));
  return ({ originKind, metadata }) => {
    if (originKind === kind) return metadata.name === name;
    if (kind === "Job") return originKind === "CronJob";
    const mayOwn = originKind === "Deployment" || originKind === "Rollout";
    return kind === "ReplicaSet" && mayOwn && metadata.name === deployment;
  };
}

/** The names that workloads which confirm an owner may have, to read them again. */
export function confirmingNames({ kind, name }: OwnerReference): readonly string[] {
  const dash = name.lastIndexOf("-");
  return kind === "ReplicaSet" && dash > 0 ? [name, name.slice(0, dash)] : [name];
}

/** Whether another workload owns this one, which then adds no information to its owner. */
export const isOwned = (workload: Workload): boolean => controllerOf(workload) !== undefined;
