import type { ObjectOf } from "../../kube/object.ts";
import { tcpPortsOf, type Workload } from "./workloads.ts";

type Service = ObjectOf<"Service">;
type ServiceEntry = ObjectOf<"ServiceEntry">;

/** The ports of what defines a host, and those of the workloads behind them. */
export interface TargetPorts {
  /** The port numbers that clients use. */
  readonly ports: readonly number[];
  /** The port of the workload for a port of the host; undefined: its number is not known. */
  workloadPort(port: number, workload: Workload | undefined): number | undefined;
}

/** Proxies have no port of UDP (Istio pilot/pkg/networking/core/cluster.go buildOutboundClusters). */
export function portsOf({ spec }: Service): TargetPorts {
  const ports = spec.ports.filter(({ protocol }) => protocol !== "UDP");
  let targets: ReadonlyMap<number | undefined, number | string | undefined> | undefined;
  return {
    ports: known(ports.map(({ port }) => port)),
    workloadPort(number, workload) {
      targets ??= firstBy(ports.map(({ port, targetPort }) => [port, targetPort]));
      const target = targets.get(number);
      if (typeof target !== "string") return target || number;
      return workload === undefined ? undefined : namedPortsOf(workload).get(target);
    },
  };
}

/** A port of a Service by which requests come to another port of the pods from now on, by a number or a name. */
export interface MovedTarget {
  /** Among the ports of the Service of now. */
  readonly index: number;
  readonly port: number;
}

/** The ports of a Service that have another target than before. A port that is new moves no requests. */
export function targetsMoved(before: Service, after: Service): readonly MovedTarget[] {
  if (before.spec.ports === after.spec.ports) return [];
  const targets = new Map(before.spec.ports.filter(isOfTcp).map((one) => [one.port, targetOf(one)]));
  return after.spec.ports.flatMap((one, index) => {
    const { port } = one;
    const old = targets.get(port);
    return port === undefined || old === undefined || old === targetOf(one) || !isOfTcp(one) ? [] : [{ index, port }];
  });
}
type ServicePort = Service["spec"]["ports"][number];
const isOfTcp = ({ protocol = "TCP" }: ServicePort): boolean => protocol === "TCP";
const targetOf = ({ port, targetPort }: ServicePort): number | string | undefined => targetPort || port;

export function portsOfEntry({ spec }: ServiceEntry): TargetPorts {
  let targets: ReadonlyMap<number | undefined, number | undefined> | undefined;
  return {
    ports: known(spec.ports.map(({ number }) => number)),
    workloadPort(port) {
      targets ??= firstBy(spec.ports.map(({ number, targetPort }) => [number, targetPort]));
      return targets.get(port) ?? port;
    },
  };
}

/** Most often all are known. The list is no longer than it has to be, unlike one that grows: a mesh has tens of thousands. */
const known = (numbers: readonly (number | undefined)[]): readonly number[] =>
  numbers.every(isKnown) ? numbers : numbers.filter(isKnown);
const isKnown = (number: number | undefined): number is number => number !== undefined;

const namedPorts = new WeakMap<Workload, ReadonlyMap<string | undefined, number | undefined>>();

function namedPortsOf(workload: Workload): ReadonlyMap<string | undefined, number | undefined> {
  let found = namedPorts.get(workload);
  if (found === undefined) {
    found = firstBy(tcpPortsOf(workload).map(({ name, number }) => [name, number]));
    namedPorts.set(workload, found);
  }
  return found;
}

/** A map in which the first of several pairs with the same key is kept. */
function firstBy<K, V>(pairs: readonly (readonly [K, V])[]): ReadonlyMap<K, V> {
  const found = new Map<K, V>();
  for (const [key, value] of pairs) if (!found.has(key)) found.set(key, value);
  return found;
}
