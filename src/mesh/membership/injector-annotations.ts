import { parseYaml } from "../../kube/mesh-config.ts";
import { proxyConfigAnnotation } from "../../kube/proxy-config.ts";
import type { Malformed } from "../../kube/read.ts";
import { isBlock } from "../objects/ip-address.ts";
import { isBoolean } from "../objects/parse-bool.ts";
import {
  excludeInboundPorts,
  excludeInterfaces,
  includeInboundPorts,
  interfacesIn,
  interceptionMode,
  statusPort,
} from "./interception.ts";
import { portIn, portsIn } from "./port-lists.ts";

type Accepts = (value: string) => boolean;

const isPortList: Accepts = (value) => portsIn(value) !== undefined;

const isUint32: Accepts = (value) => /^\d+$/.test(value) && Number(value) < 2 ** 32;

const areBlocks: Accepts = (value) => value === "" || value.split(",").every(isBlock);

const areInterfaces: Accepts = (value) => interfacesIn(value) !== undefined;

/** A number without digits is 0, also before a suffix (Kubernetes apimachinery pkg/api/resource/quantity.go ParseQuantity). */
const isQuantity: Accepts = (value) =>
  value !== "" && /^[+-]?\d*\.?\d*(?:[numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?$/.test(value);

/** Whether a proxy config has fields. Their types are those of `proxy-config-types.ts`. */
const hasFields: Accepts = (value) => {
  const malformed: Malformed[] = [];
  const config = parseYaml(value, "a proxy config", malformed);
  if (malformed.length > 0) return malformed.every(({ found }) => found.endsWith("bytes"));
  return config === undefined || config === null || (typeof config === "object" && !Array.isArray(config));
};

/**
 * The annotations with whose values the injector refuses a pod if they are not accepted (Istio pkg/kube/inject/validate.go
 * AnnotationValidation). Ports are also read by iptables.
 */
export const acceptedByInjector: Readonly<Record<string, Accepts>> = {
  [excludeInboundPorts]: isPortList,
  [includeInboundPorts]: (value) => value === "*" || isPortList(value),
  "traffic.sidecar.istio.io/excludeOutboundPorts": isPortList,
  "traffic.sidecar.istio.io/includeOutboundIPRanges": (value) => value === "*" || areBlocks(value),
  "traffic.sidecar.istio.io/excludeOutboundIPRanges": areBlocks,
  [excludeInterfaces]: areInterfaces,
  "traffic.sidecar.istio.io/kubevirtInterfaces": areInterfaces,
  "istio.io/reroute-virtual-interfaces": areInterfaces,
  [statusPort]: (value) => portIn(value) !== undefined,
  [interceptionMode]: (value) => ["REDIRECT", "TPROXY", "NONE"].includes(value),
  "readiness.status.sidecar.istio.io/initialDelaySeconds": isUint32,
  "readiness.status.sidecar.istio.io/periodSeconds": isUint32,
  "readiness.status.sidecar.istio.io/failureThreshold": isUint32,
  "prometheus.istio.io/merge-metrics": isBoolean,
  "sidecar.istio.io/proxyCPU": isQuantity,
  "sidecar.istio.io/proxyMemory": isQuantity,
  "sidecar.istio.io/proxyCPULimit": isQuantity,
  "sidecar.istio.io/proxyMemoryLimit": isQuantity,
  [proxyConfigAnnotation]: hasFields,
};
