import { idOf } from "../../kube/identity.ts";
import type { MeshView } from "../../view/view.ts";
import type { Work } from "../authorization/requests/work.ts";
import type { ClientTlsChoice } from "../client-tls/client-tls.ts";
import type { Namespace } from "../membership/namespaces.ts";
import type { Workload } from "../membership/workloads.ts";
import { connections } from "./connections.ts";
import type { Backend } from "./arrival.ts";
import { type Guard, guardReads, guards } from "./enforcement.ts";
import type { Source, TransportOutcome } from "./outcome.ts";
import type { Way } from "./way.ts";

/** What `PodsAlike` reads. */
export const podReads = [connections, ...guardReads] as const;
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

  of({ namespace, pods }: Backend, client: Source, sent: Sent, work: Work): Iterable<Pods> {
    if (namespace === undefined) return [];
    work.spend(pods.length);
    const podsOf = this.#podsIn(namespace, client, sent);
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

  /** What becomes of the connections to one of the pods. */
  #podsIn(namespace: Namespace, client: Source, { sentAs, tls }: Sent): (pod: Backend["pods"][number]) => Pods {
    const [guarded, connected] = [this.#mesh.get(guards, namespace), this.#mesh.get(connections, namespace)];
    return ({ workload, port }) => {
      const transport = connected.to(workload, port, client.sender, tls);
      const protocol = connected.protocolOf(workload, port, transport, sentAs);
      const guard = guarded.ofWorkload(workload, protocol, connected.isBypassed(workload, port));
      return { workloads: [workload], port, transport, guard };
    };
  }
}

/** What distinguishes connections. */
const keyOfTransport = ({ result, mode, because }: TransportOutcome): string =>
  JSON.stringify([result, mode?.mode, mode?.by && idOf(mode.by), because]);
