import type { MatchCondition } from "./fail-closed.ts";

/**
 * The controllers that create pods from templates which Meshward has reviewed. The API server authenticates these names;
 * without an account for each controller, kube-controller-manager uses its own.
 */
const controllers = [
  "system:kube-controller-manager",
  ...["cronjob", "daemon-set", "deployment", "job", "replicaset", "replication", "statefulset"].map(
    (name) => `system:serviceaccount:kube-system:${name}-controller`,
  ),
];

/** The objects that these controllers create, with the owner that they set (see mesh/membership/owners.ts). */
const createdByControllers = [
  "Job of batch/v1/CronJob",
  "Pod of apps/v1/DaemonSet",
  "Pod of apps/v1/ReplicaSet",
  "Pod of apps/v1/StatefulSet",
  "Pod of batch/v1/Job",
  "Pod of v1/ReplicationController",
  "ReplicaSet of apps/v1/Deployment",
];

const quoted = (values: readonly string[]): string => `[${values.map((value) => `'${value}'`).join(", ")}]`;
const reviewedObject = "(request.operation == 'DELETE' ? oldObject : object)";
const ownersOf = `${reviewedObject}.metadata.ownerReferences`;
const isControlled =
  `has(${ownersOf}) && ${ownersOf}.size() == 1 && has(${ownersOf}[0].controller) && ${ownersOf}[0].controller && ` +
  `(request.kind.kind + ' of ' + ${ownersOf}[0].apiVersion + '/' + ${ownersOf}[0].kind) in ${quoted(createdByControllers)}`;

/** Compares a field of metadata on both sides; an absent one equals an empty one. */
const changes = (field: string, empty: string): string =>
  `(has(object.metadata.${field}) ? object.metadata.${field} : ${empty}) != ` +
  `(has(oldObject.metadata.${field}) ? oldObject.metadata.${field} : ${empty})`;

/**
 * Pods that controllers create and update, and their status, are most of the requests of a cluster. A request is left out
 * for who sends it or because it changes nothing, and never because of a field that its sender chooses: anyone may write
 * ownerReferences. Only deletions of objects with an owner are left out for everybody, because deleting one of them weakens
 * nothing.
 *
 * The expressions have no loops. Their cost does not grow with the object, so no object exceeds the API server's limit for
 * an expression, after which failurePolicy would decide instead of Meshward. They read no field without `has` that an
 * object may lack, because an error has the same effect.
 */
export const workloadConditions: readonly MatchCondition[] = [
  {
    name: "not-created-from-a-template",
    expression: `!(${isControlled} && (request.operation == 'DELETE' || request.userInfo.username in ${quoted(controllers)}))`,
  },
  {
    name: "changes-more-than-status",
    expression:
      "request.operation != 'UPDATE' || " +
      "(request.kind.kind != 'Pod' && !(has(request.subResource) && request.subResource == 'status')) || " +
      `${changes("labels", "{}")} || ${changes("annotations", "{}")} || ${changes("ownerReferences", "[]")} || ` +
      "object.spec != oldObject.spec",
  },
];
