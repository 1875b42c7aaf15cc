import type { ObjectOf } from "../../kube/object.ts";

export type Namespace = ObjectOf<"Namespace">;

/** Nothing is weakened in a namespace that goes: its contents are deleted in any order. */
export const isTerminating = ({ metadata, status }: Namespace): boolean =>
  metadata.deletionTimestamp !== undefined || status.phase === "Terminating";
