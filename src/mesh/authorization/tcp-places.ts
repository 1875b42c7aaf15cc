import { idOf } from "../../kube/identity.ts";
import type { MeshView } from "../../view/view.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { declaredProtocol } from "../membership/service-protocol.ts";
import { selectsPods, type Service, servicesOfNamespace } from "../membership/services.ts";
import { portsOf } from "../membership/target-ports.ts";
import type { Workload } from "../membership/workloads.ts";
import type { ChangedPlace } from "./changed-places.ts";
import { authorization, type NamespaceAuthorization } from "./effective-authorization.ts";
import type { Applied } from "./requests/applied.ts";
import type { Clause } from "./requests/boxes.ts";
import { Asked } from "./requests/gains.ts";
import { Texts } from "./requests/texts.ts";

interface Side {
  readonly object: Namespace;
  readonly mesh: MeshView<typeof authorization | typeof servicesOfNamespace>;
}

/** A place with proxies whose policies are read as they are at ports of TCP, and these ports. */
export interface TcpPlace {
  readonly place: ChangedPlace;
  readonly toPorts: Clause;
}

/**
 * Workloads with proxies and other policies than before, behind Services that declare ports of TCP. There proxies leave out the ALLOW rules with
 * attributes of HTTP (Istio pilot/pkg/security/authz/builder/builder.go buildTCP), so that a policy which allows every request of HTTP denies
 * every connection. Each combination of policies once for the workloads of a selector. Yields undefined while it compares workloads.
 */
export function* tcpPlaces(before: Side, after: Side): Generator<TcpPlace | undefined, undefined> {
  const [old, now] = [before.mesh.get(authorization, before.object), after.mesh.get(authorization, after.object)];
  // Where only a workload has changed, its policies are those of other labels, which changedPlaces compares.
  if (old.isSame(now)) return;
  const services = after.mesh.related(servicesOfNamespace, after.object).filter(hasTcp);
  // Services with one selector share the list.
  const behind = Map.groupBy(services, ({ spec }) => now.workloadsByLabel.selected(spec.selector));
  for (const [workloads, declaring] of behind) {
    const seen = new Map<Applied, Set<Applied>>();
    for (const workload of workloads) {
      yield undefined;
      const [was, is] = [old.applied.toWorkload(workload), now.applied.toWorkload(workload)];
      if (was === is || was.place !== "http" || is.place !== "http" || !isNew(seen, was, is)) continue;
      const ports = new Set(declaring.flatMap((service) => tcpPortsOf(service, workload)));
      yield { place: placeOf(workload, [old, now], new Asked(was, is).at("tcp")), toPorts: portClause([...ports]) };
    }
  }
}

const isTcp = (port: Service["spec"]["ports"][number]): boolean =>
  port.protocol !== "UDP" && declaredProtocol(port) === "TCP";
const hasTcp = (service: Service): boolean => selectsPods(service) && service.spec.ports.some(isTcp);

/** The ports of the pods that a Service declares as TCP. */
function tcpPortsOf(service: Service, workload: Workload): readonly number[] {
  const { workloadPort } = portsOf(service);
  return service.spec.ports
    .filter(isTcp)
    .map(({ port }) => (port === undefined ? undefined : workloadPort(port, workload)))
    .filter((port) => port !== undefined);
}

function isNew(seen: Map<Applied, Set<Applied>>, was: Applied, is: Applied): boolean {
  const known = seen.get(was);
  if (known === undefined) seen.set(was, new Set([is]));
  else if (known.has(is)) return false;
  else known.add(is);
  return true;
}

const portClause = (ports: readonly number[]): Clause => ({
  attribute: "port",
  values: new Texts(ports.map((port) => [String(port)])),
  not: false,
});

const placeOf = (
  workload: Workload,
  [before, after]: readonly [before: NamespaceAuthorization, after: NamespaceAuthorization],
  asked: Asked,
): ChangedPlace => ({
  name: idOf(workload),
  namespace: after.namespace,
  workload: undefined,
  isIngress: false,
  future: undefined,
  asked,
  coverageBefore: () => before.ofWorkload(workload),
  coverageAfter: () => after.ofWorkload(workload),
});
