/** Who can reach what in a mesh. */
export interface Connections {
  readonly apiVersion: "meshward.io/v1alpha1";
  readonly kind: "Connections";
  /** What was asked about. */
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
  /** What was asked about. */
  readonly scope: ReportedScope;
  /** Ports with the same changes are one group. Empty: the change has no effect on connections. */
  readonly groups: readonly ChangeGroup[];
  /** The number of ports with requests that are undecided before and after the change, so that its effect on them is not known. */
  readonly undecidedPorts: number;
  /** What is not known, or not shown. */
  readonly notes: readonly string[];
}

/** What was asked about. Without fields: the whole mesh. */
export interface ReportedScope {
  /** The namespace; alone: everything in it. */
  readonly namespace?: string;
  /** The Service. */
  readonly service?: string;
  /** A host that a ServiceEntry defines. */
  readonly host?: string;
}

/** A port of a Service, of a host of a ServiceEntry, of a workload without one, or of a Gateway that lets requests from outside in. */
export interface ReportedPort {
  /** `Service`, `Host`, `Gateway`, or the kind of the workload. */
  readonly kind: string;
  /** The namespace of the object. */
  readonly namespace: string;
  /** The name of the object, or the host. */
  readonly name: string;
  /** The number of the port. */
  readonly port: number;
  /** Of a Gateway: what clients ask for, `https://*.example.com`. */
  readonly url?: string;
}

interface PortGroup {
  /** The ports in few words: `api.payments:8080`, `everything in namespace payments (8 ports)`. */
  readonly title: string;
  /** The ports of the group. */
  readonly ports: readonly ReportedPort[];
}

/** Ports that the same callers can reach in the same way. */
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

/** Requests of some callers that arrive. */
export interface Connection {
  /** Who sends them. */
  readonly from: ReportedCallers;
  /** How they arrive. */
  readonly status: ConnectionStatus;
  /** The requests. */
  readonly requests: ReportedRequests;
  /** Those of the requests that not every destination, or not every pod, accepts. */
  readonly partly: ReportedRequests | null;
  /** Why it is undecided. */
  readonly because: readonly string[];
}

/** Where requests are routed. */
export interface ConnectionRoute {
  /** Null: all callers that can reach the port. */
  readonly from: ReportedCallers | null;
  /** Null: all requests. */
  readonly requests: ReportedRequests | null;
  /** The destinations with their shares. */
  readonly to: readonly ReportedShare[];
  /** The objects that set the route. */
  readonly by: readonly string[];
}

/** A destination and its share of the requests. */
export interface ReportedShare {
  /** `subset v1` of the host that requests are sent to; otherwise the host too. */
  readonly text: string;
  /** The host of the destination. */
  readonly host: string;
  /** The number of its port. */
  readonly port: number;
  /** The name of the subset; null: every pod. */
  readonly subset: string | null;
  /** The share of the requests, in percent. */
  readonly percent: number;
  /** Why requests reach nothing there. */
  readonly because: string | null;
}

/** Words for a set: all of it, and so that a person can read it, where long lists are cut. */
interface Words {
  /** All of the set, in words. */
  readonly text: string;
  /** The same, with long lists cut. */
  readonly short: string;
}

/** Callers in words and by name. */
export interface ReportedCallers extends Words {
  /** The callers are all of these. */
  readonly alternatives: readonly ReportedAlternative[];
  /** In which ways they send, if others with the same identity can send something else; empty: in every way. */
  readonly ways: readonly ReportedWay[];
}

/** A way in which callers send. */
export interface ReportedWay {
  /** What sends the requests. */
  readonly sender: "proxy" | "ztunnel" | "nothing" | "unknown";
  /** The workloads that send so; empty: none are known. */
  readonly workloads: readonly string[];
}

/** Callers by name. */
export interface ReportedNames {
  /** Service accounts, as `namespace/name`. */
  readonly accounts: readonly string[];
  /** Names of namespaces. */
  readonly namespaces: readonly string[];
  /** Principals, as in an AuthorizationPolicy. */
  readonly patterns: readonly string[];
}

/** Callers that are named; or those in the mesh, outside, or all. */
export interface ReportedAlternative extends ReportedNames {
  /** Those that are named, those with a certificate of the mesh, those without one, or all. */
  readonly kind: "named" | "mesh" | "outside" | "all";
  /** Other conditions that they fulfil. */
  readonly also: readonly ReportedNames[];
  /** Those that are excepted. */
  readonly but: ReportedNames;
}

/** Requests in words, and as conditions. */
export interface ReportedRequests extends Words {
  /** The requests fulfil all conditions of one of these. */
  readonly alternatives: readonly (readonly ReportedCondition[])[];
}

/** A condition on an attribute of requests. */
export interface ReportedCondition {
  /** `method`, `path`, `header x-user` and others. */
  readonly attribute: string;
  /** Whether the attribute has none of the values. */
  readonly not: boolean;
  /** Of a list, such as the values of a header: some element is none of the values. */
  readonly isBeyond?: true;
  /** The attribute has one of these values. Empty: it is missing. */
  readonly values: readonly string[];
}

/** Ports with the same changes. */
export interface ChangeGroup extends PortGroup {
  /** Whether the change creates or removes the ports. */
  readonly existence: "kept" | "new" | "gone";
  /** What changes. */
  readonly changes: readonly ConnectionChange[];
}

/** Requests that arrive where they did not, no longer arrive, or arrive in another way or at other destinations. */
export interface ConnectionChange {
  /**
   * What changes: they arrive now, no longer, in another way (`was`, `is`), or at other destinations (`routes`); `partly`: some
   * destinations, or some pods, refuse them now; `wholly`: none of them does so any more.
   */
  readonly kind: "appeared" | "gone" | "status" | "route" | "partly" | "wholly";
  /** Who sends them. */
  readonly from: ReportedCallers;
  /** The requests. */
  readonly requests: ReportedRequests;
  /** How they arrived; null: they did not. */
  readonly was: ConnectionStatus | null;
  /** How they arrive; null: they do not. */
  readonly is: ConnectionStatus | null;
  /** For a change of the route; null otherwise. */
  readonly routes: RouteChange | null;
}

/** The destinations before and after a change. */
export interface RouteChange {
  /** Before the change. */
  readonly was: readonly ReportedShare[];
  /** After it. */
  readonly is: readonly ReportedShare[];
}
