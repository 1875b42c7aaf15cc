/** Who can reach what in a mesh. */
export interface Connections {
  readonly apiVersion: "meshward.io/v1alpha1";
  readonly kind: "Connections";
  readonly scope: ReportedScope;
  /** Ports that the same callers can reach in the same way are one group. */
  readonly groups: readonly ConnectionGroup[];
  /** What is not known, or not shown. */
  readonly notes: readonly string[];
}

/** What a change does to the connections of a mesh. */
export interface ConnectionChanges {
  readonly apiVersion: "meshward.io/v1alpha1";
  readonly kind: "ConnectionChanges";
  readonly scope: ReportedScope;
  /** Ports with the same changes are one group. Empty: the change has no effect on connections. */
  readonly groups: readonly ChangeGroup[];
  /** The number of ports with requests that are undecided before and after the change, so that its effect on them is not known. */
  readonly undecidedPorts: number;
  readonly notes: readonly string[];
}

/** Undefined fields: the whole mesh, or every Service of the namespace. */
export interface ReportedScope {
  readonly namespace?: string;
  readonly service?: string;
  /** A host that a ServiceEntry defines. */
  readonly host?: string;
}

/** A port of a Service, of a host of a ServiceEntry, of a workload without one, or of a Gateway that lets requests from outside in. */
export interface ReportedPort {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly port: number;
  /** Of a Gateway: what clients ask for, `https://*.example.com`. */
  readonly url?: string;
}

interface PortGroup {
  /** The ports in few words: `api.payments:8080`, `everything in namespace payments (8 ports)`. */
  readonly title: string;
  readonly ports: readonly ReportedPort[];
}

export interface ConnectionGroup extends PortGroup {
  /** Empty: nobody can reach the ports. */
  readonly connections: readonly Connection[];
  /** Why nobody can. */
  readonly because: readonly string[];
  /** Where requests are routed, if that is not simply the port itself. */
  readonly routes: readonly ConnectionRoute[];
}

/**
 * How requests arrive; `tls` and `passed` are out of the mesh: over TLS without its certificates, and as the application sends them;
 * `undecided`: that is not known.
 */
export type ConnectionStatus = "mtls" | "tls" | "plaintext" | "passed" | "undecided";

export interface Connection {
  readonly from: ReportedCallers;
  readonly status: ConnectionStatus;
  readonly requests: ReportedRequests;
  /** Those of the requests that not every destination, or not every pod, accepts. */
  readonly partly: ReportedRequests | null;
  /** Why it is undecided. */
  readonly because: readonly string[];
}

export interface ConnectionRoute {
  /** Null: all callers that can reach the port. */
  readonly from: ReportedCallers | null;
  /** Null: all requests. */
  readonly requests: ReportedRequests | null;
  readonly to: readonly ReportedShare[];
  /** The objects that set the route. */
  readonly by: readonly string[];
}

export interface ReportedShare {
  /** `subset v1` of the host that requests are sent to; otherwise the host too. */
  readonly text: string;
  readonly host: string;
  readonly port: number;
  readonly subset: string | null;
  readonly percent: number;
  /** Why requests reach nothing there. */
  readonly because: string | null;
}

/** Words for a set: all of it, and so that a person can read it, where long lists are cut. */
interface Words {
  readonly text: string;
  readonly short: string;
}

/** Callers in words and by name. */
export interface ReportedCallers extends Words {
  readonly alternatives: readonly ReportedAlternative[];
  /** In which ways they send, if others with the same identity can send something else; empty: in every way. */
  readonly ways: readonly ReportedWay[];
}

/** What sends the requests, and for which workloads; empty: no workloads are known. */
export interface ReportedWay {
  readonly sender: "proxy" | "ztunnel" | "nothing" | "unknown";
  readonly workloads: readonly string[];
}

/** `accounts` are `namespace/name`; `patterns` are principals as in an AuthorizationPolicy. */
export interface ReportedNames {
  readonly accounts: readonly string[];
  readonly namespaces: readonly string[];
  readonly patterns: readonly string[];
}

/** Callers that are named; or those in the mesh, outside, or all, but those that are listed in `but`. */
export interface ReportedAlternative extends ReportedNames {
  readonly kind: "named" | "mesh" | "outside" | "all";
  readonly also: readonly ReportedNames[];
  readonly but: ReportedNames;
}

/** Requests in words, and as alternatives of conditions that all have to hold. */
export interface ReportedRequests extends Words {
  readonly alternatives: readonly (readonly ReportedCondition[])[];
}

/** The attribute has one of the values; with `not`, none of them. Without values, it is missing. */
export interface ReportedCondition {
  readonly attribute: string;
  readonly not: boolean;
  readonly values: readonly string[];
}

export interface ChangeGroup extends PortGroup {
  /** Whether the change creates or removes the ports. */
  readonly existence: "kept" | "new" | "gone";
  readonly changes: readonly ConnectionChange[];
}

/** Requests that arrive in another way, or to other destinations. Null: they were not, or are not, accepted. */
export interface ConnectionChange {
  readonly kind: "appeared" | "gone" | "status" | "route";
  readonly from: ReportedCallers;
  readonly requests: ReportedRequests;
  readonly was: ConnectionStatus | null;
  readonly is: ConnectionStatus | null;
  /** For a change of the route. */
  readonly routes: { readonly was: readonly ReportedShare[]; readonly is: readonly ReportedShare[] } | null;
}
