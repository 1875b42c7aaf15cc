import { byId } from "../../kube/identity.ts";
import type { AnyObject } from "../../kube/object.ts";
import { injectedProxy } from "../membership/injection-templates.ts";
import { declaredProtocol } from "../membership/service-protocol.ts";
import type { Service } from "../membership/services.ts";
import { isProxy, type Workload } from "../membership/workloads.ts";
import type { DestinationRule } from "../traffic/destination-rules.ts";
import type { Arrival } from "./arrivals.ts";
import { tlsModeOf } from "./client-tls.ts";

/** The mesh's own mTLS, or TLS with settings of the DestinationRule. */
export type SetTls = "mTLS" | "TLS";

type TlsSettings = NonNullable<NonNullable<DestinationRule["spec"]["trafficPolicy"]>["tls"]>;

/** What a field of a DestinationRule sets; undefined: neither. */
export function tlsSetBy(tls: TlsSettings | undefined): SetTls | undefined {
  if (tls === undefined) return undefined;
  const mode = tlsModeOf(tls);
  if (mode === "ISTIO_MUTUAL") return "mTLS";
  return mode === "SIMPLE" || mode === "MUTUAL" ? "TLS" : undefined;
}

/** Why workloads do not accept the TLS. */
export interface Refusal {
  readonly why: "no sidecar" | "bypassed" | "DISABLE" | "HTTP";
  readonly by: AnyObject | undefined;
  /** At least one, the first one by its id first. */
  readonly workloads: readonly [Workload, ...Workload[]];
}

/** Of pods that are reached in the same way, those that do not accept this TLS; `spared`: those that others use. */
export function refusalOf<Host>(
  arrival: Arrival<Host>,
  tls: SetTls,
  spared: ReadonlySet<Workload>,
): Refusal | undefined {
  const why = whyNot[tls](arrival);
  if (why === undefined) return undefined;
  const isAside = why === "no sidecar" ? mayRunProxy : why === "HTTP" ? isOtherProxy : () => false;
  const [first, ...others] = arrival.workloads.filter((one) => !spared.has(one) && !isAside(one)).sort(byId);
  return first && { why, by: arrival.server?.by, workloads: [first, ...others] };
}

type Way = Pick<Arrival, "capture" | "server">;

/** The ports at which each of them can be refused. */
export const portsRefusing = ({ spec }: Service, tls: SetTls): readonly number[] =>
  spec.ports.flatMap((one) => ((tls === "mTLS" || declaredProtocol(one) === "HTTP") && one.port) || []);

const whyNot: Readonly<Record<SetTls, (way: Way) => Refusal["why"] | undefined>> = {
  mTLS({ capture, server }) {
    if (capture === "none") return "no sidecar";
    if (capture !== "sidecar") return undefined;
    if (server === undefined) return "bypassed";
    return server.mode === "DISABLE" ? "DISABLE" : undefined;
  },
  TLS: ({ capture, server }) =>
    capture === "sidecar" && server !== undefined && server.mode !== "STRICT" ? "HTTP" : undefined,
};

/** A gateway, an agent for gRPC or a proxy that was not injected can terminate the mesh's mTLS. */
const mayRunProxy = (workload: Workload): boolean => workload.pod.hasProxyContainer || isOtherProxy(workload);
const isOtherProxy = (workload: Workload): boolean => isProxy(workload) || injectedProxy(workload.pod) !== "sidecar";
