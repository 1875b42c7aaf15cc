import { boundPorts } from "../traffic/bound-ports.ts";
import { byId } from "../../kube/identity.ts";
import { type ObjectOf, readObject } from "../../kube/object.ts";
import { overlay } from "../../view/overlay.ts";
import { sideOf } from "../../view/side.ts";
import type { Mesh } from "../../view/view.ts";
import { isEnrolled } from "../membership/capture.ts";
import { clientsIn, hasProxies } from "../membership/clients.ts";
import { type Namespace, namespaceIn } from "../membership/namespaces.ts";
import { isProxy, type Workload, workloadsOfNamespace } from "../membership/workloads.ts";
import { acceptsPlaintext, mtlsOf } from "../mtls/effective-mtls.ts";
import type { EffectiveMode } from "../mtls/peer-authentications.ts";
import { mtlsOfWorkload, type WorkloadMtls } from "../mtls/workload-mtls.ts";
import { serviceByNamespace } from "../objects/indexes.ts";
import { hostOfService } from "../traffic/hosts.ts";
import { fitOf } from "./client-tls.ts";
import { hiddenClients, isHiddenService } from "./hidden-clients.ts";
import type { Arrival } from "./arrivals.ts";
import { type TlsPath, tlsPathsInto } from "./paths.ts";

type Service = ObjectOf<"Service">;
type PeerAuthentication = ObjectOf<"PeerAuthentication">;

/** Clients in one namespace without mesh certificates. */
export interface ClientsOutside {
  readonly namespace: Namespace;
  /** Empty: the workloads of the namespace are not known. */
  readonly workloads: readonly Workload[];
}

/** A field of a DestinationRule that makes its clients use TLS settings which are refused. */
export interface RefusedPath extends Pick<TlsPath, "rule" | "choice" | "tls"> {
  /** The namespaces of these clients; `""`: every namespace without its own rule. */
  readonly clients: readonly string[];
  readonly hosts: readonly string[];
}

/**
 * A namespace whose Sidecars hide services of the asked namespace from all its sidecars. What they send there anyway goes past the
 * mesh, in plaintext.
 */
export interface HidingNamespace {
  readonly namespace: Namespace;
  readonly services: readonly Service[];
}

/** A port, or all ports that no policy lists, that still accepts plaintext. */
export type StaysOpen =
  | { readonly workload: Workload; readonly port: number | "others"; readonly mode: EffectiveMode }
  | { readonly workload: Workload; readonly port: number; readonly passedBy: string };

/** The effects if a namespace required mTLS of every caller. */
export interface StrictWhatIf {
  /** The current mode of workloads with a sidecar that no policy selects. */
  readonly now: EffectiveMode;
  readonly isStrict: boolean;
  /** Whether it is the root namespace, whose policies apply to the whole mesh. */
  readonly isRoot: boolean;
  /** The policy that would set STRICT, and the existing one that it replaces. */
  readonly policy: PeerAuthentication;
  readonly old: PeerAuthentication | undefined;
  /** Workloads that accept plaintext now and would refuse it at some port. */
  readonly closing: readonly Workload[];
  readonly clients: readonly ClientsOutside[];
  readonly paths: readonly RefusedPath[];
  readonly hiding: readonly HidingNamespace[];
  readonly open: readonly StaysOpen[];
  /** Workloads that are not captured, for which nothing changes. */
  readonly outside: readonly Workload[];
  /** Namespaces whose labels are not known. */
  readonly unlabelled: readonly string[];
}

export function strictWhatIf(namespace: Namespace, mesh: Mesh): StrictWhatIf {
  const { levelsOf, wide } = mtlsOf(namespace, mesh);
  const levels = levelsOf({}, "sidecar");
  const old = levels.isRoot ? levels.mesh[0] : levels.namespace[0];
  const policy = strictPolicy(old, namespace);
  const strict = sideOf(overlay(mesh, [{ old, object: policy }]));
  const workloads = mesh
    .related(workloadsOfNamespace, namespace)
    .filter((workload) => !isProxy(workload))
    .toSorted(byId);
  const before = mtlsOf(namespace, mesh);
  const after = mtlsOf(namespace, strict);
  const pairs = workloads.map((workload) => ({
    workload,
    was: mtlsOfWorkload(workload, namespace, before, { settings: mesh.settings, bound: boundPorts(workload, mesh) }),
    is: mtlsOfWorkload(workload, namespace, after, { settings: mesh.settings, bound: boundPorts(workload, mesh) }),
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
    hiding: hidingNamespaces(namespace, mesh),
    open: pairs.flatMap(({ workload, is }) => staysOpen(workload, is)),
    outside: clientsIn(namespace, mesh).outside.toSorted(byId),
    unlabelled: [...mesh.all("Namespace")]
      .filter(({ implied }) => implied)
      .map(({ metadata }) => metadata.name)
      .sort(),
  };
}

/** The effective policy for the namespace with mode STRICT, or a new one. */
function strictPolicy(old: PeerAuthentication | undefined, { metadata: { name } }: Namespace): PeerAuthentication {
  const base = old ?? readObject("PeerAuthentication", { metadata: { name: "default", namespace: name } });
  return { ...base, spec: { ...base.spec, mtls: { mode: "STRICT" } } };
}

/** The mode at ports that no policy or container names, then at each named port. */
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

/** The callers are not known, so every workload without a proxy in any namespace may be a client. */
function clientsOutside(namespace: Namespace, mesh: Mesh): readonly ClientsOutside[] {
  const others = [...mesh.all("Namespace")].filter(({ metadata }) => metadata.name !== namespace.metadata.name);
  return [namespace, ...others]
    .flatMap((at): readonly ClientsOutside[] => {
      const workloads = clientsIn(at, mesh).outside.toSorted(byId);
      const isUnseen = at !== namespace && isEnrolled(at, mesh.settings) === false && !mesh.knows("Workload");
      return workloads.length > 0 || isUnseen ? [{ namespace: at, workloads }] : [];
    })
    .sort((a, b) => (a.namespace.metadata.name < b.namespace.metadata.name ? -1 : 1));
}

/** The fields of DestinationRules whose clients would be refused, if any client can use them. */
function refusedPaths(namespace: Namespace, strict: Mesh): readonly RefusedPath[] {
  return [...strict.get(tlsPathsInto, namespace)]
    .sort((a, b) => byId(a.rule, b.rule))
    .flatMap(({ rule, choice, tls, arrivals, clients: groups }) => {
      const refusing = arrivals.filter((arrival) => isRefused(arrival, tls));
      const hidden = strict.get(hiddenClients, rule).of(namespace.metadata.name);
      const clients = [...groups]
        .flat()
        .filter((client) => !hidden.has(client))
        .filter((client) => client === "" || hasProxies(namespaceIn(strict, client), strict) !== false);
      const hosts = [...new Set(refusing.map(({ destination }) => destination.host))];
      return hosts.length === 0 || clients.length === 0 ? [] : [{ rule, choice, tls, clients, hosts }];
    });
}

function hidingNamespaces(namespace: Namespace, mesh: Mesh): readonly HidingNamespace[] {
  const { domain } = mesh.settings;
  const { name } = namespace.metadata;
  const services = (mesh.lookup(serviceByNamespace, [name]) as readonly Service[]).toSorted(byId);
  return [...mesh.all("Namespace")]
    .filter((client) => hasProxies(client, mesh) === true)
    .flatMap((client): readonly HidingNamespace[] => {
      const hidden = services.filter((service) => isHiddenService(client, hostOfService(service, domain), name, mesh));
      return hidden.length === 0 ? [] : [{ namespace: client, services: hidden }];
    })
    .sort((a, b) => (a.namespace.metadata.name < b.namespace.metadata.name ? -1 : 1));
}

/** For workloads that ztunnel captures, HBONE takes precedence over the DestinationRule. */
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
