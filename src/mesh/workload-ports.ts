import type { ObjectOf } from "../kube/kinds.ts";
import type { PeerAuthentication } from "./mtls/effective-mtls.ts";
import { isWide } from "./mtls/peer-authentications.ts";
import { isServed } from "./objects/revision.ts";
import { selects } from "./objects/selectors.ts";
import { index, relation } from "../view/view.ts";
import type { Workload } from "./membership/workloads.ts";

type Service = ObjectOf<"Service">;

/** A policy that tells ports apart, and the Services of its namespace. */
export const servicesBesidePeerAuthentication = relation(
  "servicesBesidePeerAuthentication",
  index("PeerAuthentication", (policy: PeerAuthentication, settings) =>
    isWide(policy) || Object.keys(policy.spec.portLevelMtls).length === 0 || !isServed(policy, settings)
      ? []
      : [policy.metadata.namespace],
  ),
  index("Service", ({ metadata }) => [metadata.namespace]),
);

/** Whether a Service sends requests to these pods. */
export const isServedBy = ({ pod }: Workload, { spec }: Service): boolean =>
  spec.type !== "ExternalName" && Object.keys(spec.selector).length > 0 && selects(spec.selector, pod.labels);

/**
 * The ports at which a workload is known to listen: those that its containers declare, which they need not, and those
 * that Services send to. Empty: nobody says.
 */
export function knownPorts(workload: Workload, services: readonly Service[]): ReadonlySet<number> {
  const declared = workload.pod.ports;
  const targeted = services
    .filter((service) => isServedBy(workload, service))
    .flatMap(({ spec }) => spec.ports)
    .flatMap(({ port, targetPort }) =>
      typeof targetPort === "string"
        ? declared.filter(({ name }) => name === targetPort).map(({ number }) => number)
        : [targetPort || port],
    );
  return new Set([...declared.map(({ number }) => number), ...targeted].filter((port) => port !== undefined));
}
