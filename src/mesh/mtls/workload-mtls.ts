import { type Capture, captureOf } from "../membership/capture.ts";
import type { InjectorSettings } from "../membership/injector-selectors.ts";
import { noPorts, passedBy } from "../membership/interception.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { isProxy, tcpPortsOf, type Workload } from "../membership/workloads.ts";
import { acceptsPlaintext, atPort, type NamespaceMtls, type Plane, planesOf } from "./effective-mtls.ts";
import type { EffectiveMode, Modes } from "./peer-authentications.ts";

/** The mode for one data plane. */
export interface PlaneMode {
  readonly plane: Plane;
  readonly mode: EffectiveMode;
}

/** The effective mTLS at a port of a workload. */
export interface PortMtls {
  /** The pod's port, not the service's. */
  readonly port: number;
  readonly name: string | undefined;
  /** Whether a container declares it. */
  readonly isDeclared: boolean;
  /** The annotation that makes it bypass the mesh, so that it accepts plaintext and no mTLS. */
  readonly passedBy: string | undefined;
  /** The modes for the possible data planes, regardless of annotations. */
  readonly byPlane: readonly PlaneMode[];
  /** The weakest of these modes; undefined: the port is not captured. */
  readonly mode: EffectiveMode | undefined;
}

/** The effective mTLS of one workload. */
export interface WorkloadMtls {
  readonly capture: Capture;
  /** Whether it is a proxy: its Gateway sets the TLS, and PeerAuthentications have no effect. */
  readonly isProxy: boolean;
  /** The possible data planes; more than one if the labels of the namespace are not known. */
  readonly planes: readonly Plane[];
  /** The weakest mode at the ports that no policy lists; undefined: it is not captured. */
  readonly mode: EffectiveMode | undefined;
  /** The ports that a container or a policy names, sorted by number. */
  readonly ports: readonly PortMtls[];
  at(port: number): PortMtls;
  /** The modes if this data plane captures the traffic. */
  as(plane: Plane): Modes;
}

/** If more than one data plane is possible, the weakest mode is used. */
export const weakestOf = (modes: readonly EffectiveMode[]): EffectiveMode | undefined =>
  modes.find(acceptsPlaintext) ?? modes[0];

/** `mtls` is that of the workload's namespace; `bound`: the ports at which its sidecar listens itself. */
export function mtlsOfWorkload(
  workload: Workload,
  namespace: Namespace,
  mtls: NamespaceMtls,
  { settings, bound = noPorts }: { readonly settings: InjectorSettings; readonly bound?: ReadonlySet<number> },
): WorkloadMtls {
  const { pod } = workload;
  const capture = captureOf(workload, namespace, settings);
  const planes = capture === "none" ? [] : planesOf(workload, namespace, settings).planes;
  const as = (plane: Plane) => mtls.of(pod.labels, plane);
  const names = new Map(tcpPortsOf(workload).map(({ number, name }) => [number, name]));
  const at = (port: number): PortMtls => {
    const byPlane = planes.map((plane) => ({ plane, mode: atPort(as(plane), port) }));
    const past = passedBy(workload, { namespace, settings, bound }, port);
    return {
      port,
      name: names.get(port),
      isDeclared: names.has(port),
      passedBy: past,
      byPlane,
      mode: past === undefined ? weakestOf(byPlane.map(({ mode }) => mode)) : undefined,
    };
  };
  const numbers = new Set([...names.keys(), ...planes.flatMap((plane) => [...as(plane).ports.keys()])]);
  return {
    capture,
    isProxy: isProxy(workload),
    planes,
    mode: weakestOf(planes.map((plane) => as(plane).mode)),
    ports: [...numbers].sort((a, b) => a - b).map(at),
    at,
    as,
  };
}

/** Whether the modes of two data planes differ at any port. */
export function differ(a: Modes, b: Modes): boolean {
  const ports = new Set([...a.ports.keys(), ...b.ports.keys()]);
  return a.mode.mode !== b.mode.mode || [...ports].some((port) => atPort(a, port).mode !== atPort(b, port).mode);
}
