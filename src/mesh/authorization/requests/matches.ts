import type { ObjectOf } from "../../../kube/object.ts";
import type { MeshSettings } from "../../../view/settings.ts";
import type { Clause } from "./boxes.ts";

export type Rule = ObjectOf<"AuthorizationPolicy">["spec"]["rules"][number];
export type Source = Rule["from"][number]["source"];
export type Operation = Rule["to"][number]["operation"];
export type Condition = Rule["when"][number];

/**
 * Where requests are authorized: a proxy (sidecar, gateway, waypoint) on an HTTP port or on another port, or ztunnel. Each
 * of them sees other attributes of a request.
 */
export type Place = "http" | "tcp" | "ztunnel";
export const places: readonly Place[] = ["http", "tcp", "ztunnel"];

/** All conditions have to hold. */
export type Clauses = readonly Clause[];

/** The requests that a rule matches: one of its sources, one of its operations, and all conditions. */
export interface Match {
  readonly sources: readonly Clauses[];
  readonly operations: readonly Clauses[];
  readonly conditions: Clauses;
}

/** What the values of a rule depend on besides the rule. */
export interface Surroundings {
  /** The namespace of the policy. */
  readonly namespace: string;
  readonly isAllow: boolean;
  readonly settings: MeshSettings;
}
