import { proxyConfigAnnotation, proxyConfigOf } from "../../kube/proxy-config.ts";
import { isTrueText } from "../objects/parse-bool.ts";
import { type Capture, captureOf } from "./capture.ts";
import type { InjectorSettings } from "./injector-selectors.ts";
import type { Namespace } from "./namespaces.ts";
import { portIn, portsIn } from "./port-lists.ts";
import type { Workload } from "./workloads.ts";

type Pod = Workload["pod"];

export const includeInboundPorts = "traffic.sidecar.istio.io/includeInboundPorts";
export const excludeInboundPorts = "traffic.sidecar.istio.io/excludeInboundPorts";
export const excludeInterfaces = "traffic.sidecar.istio.io/excludeInterfaces";
export const interceptionMode = "sidecar.istio.io/interceptionMode";
export const statusPort = "status.sidecar.istio.io/port";
/** The agent of istio-cni sets it for pods that ztunnel captures (Istio cni/pkg/util/podutil.go AnnotateEnrolledPod). */
export const ambientRedirection = "ambient.istio.io/redirection";
export const bypassInboundCapture = "ambient.istio.io/bypass-inbound-capture";

/** The part of a captured pod's inbound traffic that is redirected to the mesh. */
export interface Interception {
  /** Undefined: all ports except the excluded ones. */
  readonly onlyPorts: ReadonlySet<number> | undefined;
  readonly exceptPorts: ReadonlySet<number>;
  /** The annotation that sets it. */
  readonly by: string | undefined;
  /** The excluded port that the annotation `status.sidecar.istio.io/port` names. */
  readonly statusPort?: number;
}

/**
 * Which inbound ports are redirected. A sidecar gets all of them but the excluded ones, or those that are listed
 * (Istio tools/istio-iptables/pkg/capture/run.go handleInboundPortsInclude: with a list, exclusions are ignored), or
 * none with interception mode NONE or without the interface of the pod (shortCircuitExcludeInterfaces). ztunnel gets all, or none with bypass-inbound-capture
 * (cni/pkg/nodeagent/net.go). A value that Istio refuses excludes nothing, because pods with it are not created.
 */
export function interceptionOf(pod: Pod, capture: Capture): Interception {
  let known = isWithoutAnnotations(pod) ? ofPlainPods : interceptions.get(pod);
  if (known === undefined) interceptions.set(pod, (known = new Map()));
  let interception = known.get(capture);
  if (interception === undefined) known.set(capture, (interception = readInterception(pod, capture)));
  return interception;
}

/** The annotations of a pod never change, and many callers need them. */
const interceptions = new WeakMap<Pod, Map<Capture, Interception>>();
/** Most pods have none, and share the result. */
const ofPlainPods = new Map<Capture, Interception>();

function isWithoutAnnotations({ annotations }: Pod): boolean {
  for (const _ in annotations) return false;
  return true;
}

function readInterception({ annotations }: Pod, capture: Capture): Interception {
  if (capture === "ambient")
    return isTrueText(annotations[bypassInboundCapture]) ? nothing(bypassInboundCapture) : everything;
  if (capture !== "sidecar") return nothing(undefined);
  const disabledBy = annotationWithoutInterception(annotations) ?? annotationWithoutInterface(annotations);
  if (disabledBy !== undefined) return nothing(disabledBy);
  const included = annotations[includeInboundPorts] ?? "*";
  const onlyPorts = included === "*" ? undefined : portsIn(included);
  if (onlyPorts !== undefined) return { onlyPorts, exceptPorts: noPorts, by: includeInboundPorts };
  return readExclusions(annotations);
}

/**
 * The injector excludes the status port as well (Istio pkg/kube/inject/template.go excludeInboundPort), so a pod that calls
 * a port of the application its status port excludes it.
 */
function readExclusions(annotations: Pod["annotations"]): Interception {
  const excluded = portsIn(annotations[excludeInboundPorts] ?? "") ?? noPorts;
  const status = portIn(annotations[statusPort] ?? "") ?? 0;
  if (status === 0 || excluded.has(status))
    return { onlyPorts: undefined, exceptPorts: excluded, by: excludeInboundPorts };
  const exceptPorts = new Set([...excluded, status]);
  return { onlyPorts: undefined, exceptPorts, by: excludeInboundPorts, statusPort: status };
}

/** The annotation with interception mode NONE; that of its own takes precedence (files/injection-template.yaml). */
function annotationWithoutInterception(annotations: Pod["annotations"]): string | undefined {
  const own = annotations[interceptionMode];
  if (own !== undefined) return own === "NONE" ? interceptionMode : undefined;
  return proxyConfigOf(annotations)?.interceptionMode === "NONE" ? proxyConfigAnnotation : undefined;
}

/** Whether nothing is redirected to the proxy of a pod, which then listens only where a Sidecar says so. */
export const isWithoutRedirection = ({ annotations }: Pod): boolean =>
  annotationWithoutInterception(annotations) !== undefined;

/** The annotation that excludes the interface that every pod has, under the name that container runtimes give it. Pods can have others besides. */
const annotationWithoutInterface = (annotations: Pod["annotations"]): string | undefined =>
  interfacesIn(annotations[excludeInterfaces] ?? "")?.includes("eth0") === true ? excludeInterfaces : undefined;

/** The network interfaces of an annotation, as iptables reads them; undefined: Istio refuses the value (Istio pkg/util/net/ip.go ValidateInterfaceNames). */
export function interfacesIn(list: string): readonly string[] | undefined {
  if (list === "") return [];
  const names = list.split(",");
  return names.every((name) => /^[a-zA-Z][\w.-]{0,14}$/.test(name.trim())) ? names : undefined;
}

export const noPorts: ReadonlySet<number> = new Set();
const everything: Interception = { onlyPorts: undefined, exceptPorts: noPorts, by: undefined };
const nothing = (by: string | undefined): Interception => ({ onlyPorts: noPorts, exceptPorts: noPorts, by });

/** Whether no inbound traffic of the pod bypasses the mesh. */
export const interceptsAll = ({ onlyPorts, exceptPorts }: Interception): boolean =>
  onlyPorts === undefined && exceptPorts.size === 0;

/** Whether traffic to a port of the pod is redirected to the mesh. */
export const isIntercepted = ({ onlyPorts, exceptPorts }: Interception, port: number): boolean =>
  onlyPorts === undefined ? !exceptPorts.has(port) : onlyPorts.has(port);

/** The same, where the proxy listens at some ports itself, so that connections to these reach it without redirection. */
export function withBound(interception: Interception, bound: ReadonlySet<number>): Interception {
  if (bound.size === 0) return interception;
  const { onlyPorts, exceptPorts } = interception;
  return { ...interception, onlyPorts: onlyPorts?.union(bound), exceptPorts: exceptPorts.difference(bound) };
}

/** Whether annotations keep some port of these pods from their sidecar. */
export const mayPassSidecar = (pod: Pod): boolean =>
  !isWithoutAnnotations(pod) && !interceptsAll(interceptionOf(pod, "sidecar"));

/**
 * The annotation that makes a port of a captured pod bypass the mesh; undefined: there is none, or the pod is not
 * captured. `bound`: the ports at which a sidecar listens itself.
 */
export function passedBy(
  workload: Workload,
  { namespace, settings, bound }: Surroundings,
  port: number,
): string | undefined {
  const capture = captureOf(workload, namespace, settings);
  if (capture !== "sidecar" && capture !== "ambient") return undefined;
  const redirected = interceptionOf(workload.pod, capture);
  const interception = capture === "sidecar" ? withBound(redirected, bound) : redirected;
  return isIntercepted(interception, port) ? undefined : passedByAt(interception, port);
}

/** What decides about the ports of a workload, besides its annotations. */
export interface Surroundings {
  readonly namespace: Namespace | undefined;
  readonly settings: InjectorSettings;
  readonly bound: ReadonlySet<number>;
}

const passedByAt = (interception: Interception, port: number): string | undefined =>
  port === interception.statusPort ? statusPort : interception.by;

/** Whether traffic to ports that no list contains bypasses the mesh. */
const isRestPassedBy = ({ onlyPorts }: Interception): boolean => onlyPorts !== undefined;

/**
 * Ports at which the sidecar itself answers, for metrics and probes: connections to them are not redirected, so that neither a mode of
 * mTLS nor a policy counts there (Istio cni/pkg/plugin/sidecar_redirect.go).
 */
export const portsOfProbes: ReadonlySet<number> = new Set([15020, 15021, 15090]);

/** All ports of the sidecar itself, which it never redirects to itself. */
const ownPorts: ReadonlySet<number> = new Set([...portsOfProbes, 15000, 15001, 15004, 15006, 15008, 15053]);

/** The status port of the agent, and 15008, which is left to ztunnel; 15021 and 15090 are those of the proxy. */
const defaultStatusPort = 15020;
const neverRedirected: ReadonlySet<number> = new Set([15008, 15021, 15090]);

/**
 * Whether a port of a pod with a sidecar is never redirected to it, although no annotation says so (Istio
 * files/injection-template.yaml, tools/istio-iptables/pkg/capture/run.go handleInboundPortsInclude).
 */
export function isNeverRedirected(pod: Pod, port: number): boolean {
  if (interceptionOf(pod, "sidecar").onlyPorts !== undefined) return false;
  return neverRedirected.has(port) || port === (portIn(pod.annotations[statusPort] ?? "") ?? defaultStatusPort);
}

/** A port that bypasses the mesh only after a change: a number, `all` ports, or the `rest` that no list contains. */
export interface PortLost {
  readonly port: number | "all" | "rest";
  /** The annotation that removes it. */
  readonly by: string | undefined;
}

/**
 * The ports that a change removes from the mesh. `containerPort` is informational: a container may listen on any port, so a
 * port counts as lost whether or not it is declared, and declared ports only make the result more precise.
 */
export function portsLost(old: Pod, was: Interception, is: Interception, now = old): readonly PortLost[] {
  const declared = [...old.ports, ...now.ports].flatMap(({ number, protocol }) => (protocol ? [] : [number]));
  const named = new Set([...declared, ...(was.onlyPorts ?? []), ...is.exceptPorts]);
  const lost = [...named].filter((port) => !ownPorts.has(port) && isIntercepted(was, port) && !isIntercepted(is, port));
  if (!isRestPassedBy(was) && isRestPassedBy(is)) {
    if (is.onlyPorts?.size === 0) return [{ port: "all", by: is.by }];
    if (lost.length === 0) return [{ port: "rest", by: is.by }];
  }
  return lost.map((port) => ({ port, by: passedByAt(is, port) }));
}

/** The ports of a captured pod that bypass the mesh. */
export const portsPassed = (pod: Pod, interception: Interception): readonly PortLost[] =>
  portsLost(pod, everything, interception);
