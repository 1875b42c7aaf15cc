import { type Capture, captureOf } from "../membership/capture.ts";
import { passedBy } from "../membership/interception.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { isProxy, type Workload } from "../membership/workloads.ts";
import { acceptsPlaintext, atPort, type NamespaceMtls, type Plane, planesOf } from "./effective-mtls.ts";
import type { EffectiveMode, Modes } from "./peer-authentications.ts";

/** A mode as one data plane has it. */
export interface PlaneMode {
  readonly plane: Plane;
  readonly mode: EffectiveMode;
}

/** What a port of a workload takes. */
export interface PortMtls {
  /** The pod's port, not the service's. */
  readonly port: number;
  readonly name: string | undefined;
  /** Some container names it. */
  readonly isDeclared: boolean;
  /** The annotation that leads it past the mesh: it takes plaintext and no mTLS. */
  readonly passedBy: string | undefined;
  /** By the data planes to judge by, whatever annotations say. */
  readonly byPlane: readonly PlaneMode[];
  /** The weakest of these; undefined: nothing of the mesh takes what arrives here. */
  readonly mode: EffectiveMode | undefined;
}

/** The mTLS of one workload. */
export interface WorkloadMtls {
  readonly capture: Capture;
  /** Its Gateway decides: PeerAuthentications do not count for proxies. */
  readonly isProxy: boolean;
  /** The data planes to judge by; more than one where the labels of the namespace are not known. */
  readonly planes: readonly Plane[];
  /** The weakest mode at the ports that no policy names; undefined: nothing captures it. */
  readonly mode: EffectiveMode | undefined;
  /** Those that a container or a policy names, by number. */
  readonly ports: readonly PortMtls[];
  at(port: number): PortMtls;
  /** What holds where this data plane takes the traffic, or would. */
  as(plane: Plane): Modes;
}

/** Where more than one data plane may take the traffic the weakest counts. */
export const weakestOf = (modes: readonly EffectiveMode[]): EffectiveMode | undefined =>
  modes.find(acceptsPlaintext) ?? modes[0];

/** `mtls`: of the workload's namespace. */
export function mtlsOfWorkload(workload: Workload, namespace: Namespace, mtls: NamespaceMtls): WorkloadMtls {
  const { pod } = workload;
  const capture = captureOf(workload, namespace);
  const planes = capture === "none" ? [] : planesOf(workload, namespace).planes;
  const as = (plane: Plane) => mtls.of(pod.labels, plane);
  const names = new Map(pod.ports.map(({ number, name }) => [number, name]));
  const at = (port: number): PortMtls => {
    const byPlane = planes.map((plane) => ({ plane, mode: atPort(as(plane), port) }));
    const past = passedBy(workload, namespace, port);
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

/** Whether two data planes make a difference, at any port. */
export function differ(a: Modes, b: Modes): boolean {
  const ports = new Set([...a.ports.keys(), ...b.ports.keys()]);
  return a.mode.mode !== b.mode.mode || [...ports].some((port) => atPort(a, port).mode !== atPort(b, port).mode);
}
