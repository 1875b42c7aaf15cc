import { idOf } from "../../kube/identity.ts";
import type { MeshView } from "../../view/view.ts";
import type { Work } from "../authorization/requests/work.ts";
import type { ClientTlsChoice } from "../client-tls/client-tls.ts";
import type { Namespace } from "../membership/namespaces.ts";
import type { Workload } from "../membership/workloads.ts";
import { type Connecting, connections } from "./connections.ts";
import type { Backend } from "./arrival.ts";
import { type Guard, guardReads, guards } from "./enforcement.ts";
import type { Source, TransportOutcome } from "./outcome.ts";
import type { Way } from "./way.ts";
import { isWaypointOf, waypointHopReads } from "./waypoint-hops.ts";

/** What `PodsAlike` reads. */
export const podReads = [connections, ...guardReads, ...waypointHopReads] as const;
type View = MeshView<(typeof podReads)[number]>;

/** Pods with the same connection and the same guard. */
export interface Pods {
  readonly workloads: Workload[];
  readonly port: number;
  readonly transport: TransportOutcome;
  readonly guard: Guard;
}

/** How requests are sent to pods. */
interface Sent {
  readonly sentAs: Way["sentAs"];
  readonly tls: ClientTlsChoice;
}

/** The pods behind a destination, in groups that treat connections alike. */
export class PodsAlike {
  readonly #mesh: View;

  constructor(mesh: View) {
    this.#mesh = mesh;
  }

  of({ namespace, pods, object }: Backend, client: Source, sent: Sent, work: Work): Iterable<Pods> {
    if (namespace === undefined) return [];
    work.spend(pods.length);
    const podsOf = this.#podsIn(namespace, this.#connecting(client, object), sent);
    const [only] = pods;
    if (only !== undefined && pods.length === 1) return [podsOf(only)];
    const found = new Map<Guard, Map<string, Pods>>();
    for (const pod of pods) {
      const one = podsOf(pod);
      const byGuard = found.get(one.guard) ?? new Map<string, Pods>();
      found.set(one.guard, byGuard);
      const key = `${one.port} ${keyOfTransport(one.transport)}`;
      const there = byGuard.get(key);
      if (there === undefined) byGuard.set(key, one);
      else there.workloads.push(pod.workload);
    }
    return [...found.values()].flatMap((byGuard) => [...byGuard.values()]);
  }

  /**
   * A waypoint sends by HBONE to the pods of what it is the waypoint of, and as another proxy to those of other routes (Istio
   * pilot/pkg/networking/core/listener_waypoint.go getWaypointDestinationCluster, pilot/pkg/xds/endpoints/endpoint_builder.go
   * buildEnvoyLbEndpoint).
   */
  #connecting(client: Source, to: Backend["object"]): Connecting {
    return { sender: client.sender, isWaypoint: to !== undefined && isWaypointOf(client, to, this.#mesh) };
  }

  /** What becomes of the connections to one of the pods. */
  #podsIn(namespace: Namespace, client: Connecting, { sentAs, tls }: Sent): (pod: Backend["pods"][number]) => Pods {
    const [guarded, connected] = [this.#mesh.get(guards, namespace), this.#mesh.get(connections, namespace)];
    return ({ workload, port }) => {
      const transport = connected.to(workload, port, client, tls);
      const protocol = connected.protocolOf(workload, port, transport, sentAs);
      const guard = guarded.ofWorkload(workload, protocol, connected.isBypassed(workload, port, client));
      return { workloads: [workload], port, transport, guard };
    };
  }
}

/** What distinguishes connections. */
const keyOfTransport = ({ result, mode, because }: TransportOutcome): string =>
  JSON.stringify([result, mode?.mode, mode?.by && idOf(mode.by), because]);
