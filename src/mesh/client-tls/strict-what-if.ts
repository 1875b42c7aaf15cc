import { byId } from "../../kube/identity.ts";
import { type ObjectOf, readObject } from "../../kube/object.ts";
import { overlay } from "../../view/overlay.ts";
import type { Mesh } from "../../view/view.ts";
import { isEnrolled } from "../membership/capture.ts";
import { clientsIn, hasProxies } from "../membership/clients.ts";
import { type Namespace, namespaceIn } from "../membership/namespaces.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { acceptsPlaintext, mtlsOf } from "../mtls/effective-mtls.ts";
import type { EffectiveMode } from "../mtls/peer-authentications.ts";
import { mtlsOfWorkload, type WorkloadMtls } from "../mtls/workload-mtls.ts";
import { fitOf } from "./client-tls.ts";
import { type Arrival, type TlsPath, tlsPathsInto } from "./paths.ts";

type PeerAuthentication = ObjectOf<"PeerAuthentication">;

/** Clients that know no certificates of the mesh, of one namespace. */
export interface ClientsOutside {
  readonly namespace: Namespace;
  /** Empty: whatever runs there, which nobody has shown. */
  readonly workloads: readonly Workload[];
}

/** A place in a DestinationRule that makes its clients send what is refused. */
export interface RefusedPath extends Pick<TlsPath, "rule" | "choice" | "tls"> {
  /** The namespaces of these clients; `""`: any without a rule of its own. */
  readonly clients: readonly string[];
  readonly hosts: readonly string[];
}

/** A port, or all that no policy names, that goes on taking plaintext. */
export type StaysOpen =
  | { readonly workload: Workload; readonly port: number | "others"; readonly mode: EffectiveMode }
  | { readonly workload: Workload; readonly port: number; readonly passedBy: string };

/** What a namespace would be like if it demanded mTLS of every caller. */
export interface StrictWhatIf {
  /** What holds now for workloads with a sidecar that no policy selects. */
  readonly now: EffectiveMode;
  readonly isStrict: boolean;
  /** A policy of the root namespace is for the whole mesh. */
  readonly isRoot: boolean;
  /** The policy that would say it, and the one whose place it takes, if there is one. */
  readonly policy: PeerAuthentication;
  readonly old: PeerAuthentication | undefined;
  /** Workloads that take plaintext now and would refuse it at some port. */
  readonly closing: readonly Workload[];
  readonly clients: readonly ClientsOutside[];
  readonly paths: readonly RefusedPath[];
  readonly open: readonly StaysOpen[];
  /** Workloads that nothing captures: for them it changes nothing. */
  readonly outside: readonly Workload[];
  /** Namespaces whose labels nobody has shown. */
  readonly unlabelled: readonly string[];
}

export function strictWhatIf(namespace: Namespace, mesh: Mesh): StrictWhatIf {
  const { levels, wide } = mtlsOf(namespace, mesh);
  const old = levels.isRoot ? levels.mesh[0] : levels.namespace[0];
  const policy = strictPolicy(old, namespace);
  const strict = overlay(mesh, [{ old, object: policy }]);
  const workloads = mesh
    .related(workloadsOfNamespace, namespace)
    .filter((workload) => !isProxy(workload))
    .toSorted(byId);
  const before = mtlsOf(namespace, mesh);
  const after = mtlsOf(namespace, strict);
  const pairs = workloads.map((workload) => ({
    workload,
    was: mtlsOfWorkload(workload, namespace, before),
    is: mtlsOfWorkload(workload, namespace, after),
  }));
  return {
    now: wide("sidecar"),
    isStrict: !acceptsPlaintext(wide("sidecar")) && !acceptsPlaintext(wide("ambient")),
    isRoot: levels.isRoot,
    policy,
    old,
    closing: pairs.filter(({ was, is }) => isClosing(was, is)).map(({ workload }) => workload),
    clients: clientsOutside(namespace, mesh),
    paths: refusedPaths(namespace, strict),
    open: pairs.flatMap(({ workload, is }) => staysOpen(workload, is)),
    outside: clientsIn(namespace, mesh).outside.toSorted(byId),
    unlabelled: [...mesh.all("Namespace")]
      .filter(({ implied }) => implied)
      .map(({ metadata }) => metadata.name)
      .sort(),
  };
}

/** The policy for the namespace that counts, with STRICT; where there is none, a new one. */
function strictPolicy(old: PeerAuthentication | undefined, { metadata: { name } }: Namespace): PeerAuthentication {
  const base = old ?? readObject("PeerAuthentication", { metadata: { name: "default", namespace: name } });
  return { ...base, spec: { ...base.spec, mtls: { mode: "STRICT" } } };
}

/** The mode at the ports that nobody names, then those that somebody does. */
const modesOf = ({ mode, ports }: WorkloadMtls): readonly (readonly [number | "others", EffectiveMode])[] => [
  ...(mode === undefined ? [] : [["others", mode] as const]),
  ...ports.flatMap((port) => (port.mode === undefined ? [] : [[port.port, port.mode] as const])),
];

function isClosing(was: WorkloadMtls, is: WorkloadMtls): boolean {
  const after = new Map(modesOf(is));
  return modesOf(was).some(([port, mode]) => {
    const then = after.get(port);
    return acceptsPlaintext(mode) && then !== undefined && !acceptsPlaintext(then);
  });
}

/** Nobody says who calls whom, so that all that has no proxy may be a client, of every namespace. */
function clientsOutside(namespace: Namespace, mesh: Mesh): readonly ClientsOutside[] {
  const others = [...mesh.all("Namespace")].filter(({ metadata }) => metadata.name !== namespace.metadata.name);
  return [namespace, ...others]
    .flatMap((at): readonly ClientsOutside[] => {
      const workloads = clientsIn(at, mesh).outside.toSorted(byId);
      const isUnseen = at !== namespace && isEnrolled(at) === false && !mesh.knows("Workload");
      return workloads.length > 0 || isUnseen ? [{ namespace: at, workloads }] : [];
    })
    .sort((a, b) => (a.namespace.metadata.name < b.namespace.metadata.name ? -1 : 1));
}

/** The places whose clients would be refused, where any client may use them. */
function refusedPaths(namespace: Namespace, strict: Mesh): readonly RefusedPath[] {
  return [...tlsPathsInto(namespace, strict)]
    .sort((a, b) => byId(a.rule, b.rule))
    .flatMap(({ rule, choice, tls, arrivals, clients: groups }) => {
      const refusing = arrivals.filter((arrival) => isRefused(arrival, tls));
      const clients = [...groups]
        .flat()
        .filter((client) => client === "" || hasProxies(namespaceIn(strict, client), strict) !== false);
      const hosts = [...new Set(refusing.map(({ destination }) => destination.host))];
      return hosts.length === 0 || clients.length === 0 ? [] : [{ rule, choice, tls, clients, hosts }];
    });
}

/** To what ztunnel captures HBONE goes before what the rule says. */
const isRefused = ({ capture, server }: Arrival, tls: TlsPath["tls"]): boolean =>
  capture !== "ambient" && fitOf(tls, server?.mode) === "refused";

function staysOpen(workload: Workload, mtls: WorkloadMtls): readonly StaysOpen[] {
  const passed = mtls.ports.flatMap(({ port, passedBy }) =>
    passedBy === undefined ? [] : [{ workload, port, passedBy }],
  );
  const exempt = modesOf(mtls)
    .filter(([, mode]) => acceptsPlaintext(mode))
    .map(([port, mode]) => ({ workload, port, mode }));
  return [...exempt, ...passed];
}
