import { idOf } from "../../kube/identity.ts";
import type { AnyObject } from "../../kube/object.ts";
import { authorization } from "../authorization/effective-authorization.ts";
import { formatGain, policiesOfGain } from "../authorization/gain-wording.ts";
import { appliedAtPort } from "../authorization/policies-at-port.ts";
import type { Applied } from "../authorization/requests/applied.ts";
import { Asked, Questions } from "../authorization/requests/gains.ts";
import { captureOf } from "../membership/capture.ts";
import type { Namespace } from "../membership/namespaces.ts";
import type { Workload } from "../membership/workloads.ts";
import { bypassesProxy, sidecarsOfPassing } from "../traffic/bound-ports.ts";
import type { MeshView } from "../../view/view.ts";
import { acceptsPlaintext, atPort, mtls, planesOf } from "./effective-mtls.ts";
import type { EffectiveMode } from "./peer-authentications.ts";

/** What `PortLosses` reads. */
export const readsPortLosses = [sidecarsOfPassing, mtls, authorization] as const;

/** A workload on one side of a change. */
export interface WorkloadAtSide {
  readonly workload: Workload;
  readonly namespace: Namespace;
  readonly mesh: MeshView<(typeof readsPortLosses)[number]>;
}

/** Requests for a port of a pod come to another one from now on. */
export interface MovedPort {
  readonly was: number;
  readonly is: number;
}

/** What protected the port before, and does not protect the port of now. */
export interface PortLoss {
  /** The rest of a sentence after a colon. */
  readonly message: string;
  readonly key: "past" | "mode" | "gain";
  readonly objects: readonly AnyObject[];
}

/** Whether a sidecar or ztunnel certainly decides about what comes to a workload. */
export function isCaptured({ workload, namespace, mesh }: WorkloadAtSide): boolean {
  const capture = captureOf(workload, namespace, mesh.settings);
  return capture === "sidecar" || capture === "ambient";
}

/** Combinations of policies that are compared for one pair of ports. Few Services have pods with more than two. */
const mostCompared = 8;

/**
 * What requests lose that come to another port of a pod, because portLevelMtls and the ports of AuthorizationPolicies are numbers of the pod
 * (Istio pilot/pkg/security/authn/policy_applier.go, pilot/pkg/security/authz/model/generator.go destPortGenerator). What the change does
 * to the former port as well is no loss by the move, and neither is what policies take along to the new port. Of pods with the same
 * policies, the first stands for the others.
 */
export class PortLosses {
  readonly #compared = new Map<string, Set<Applied["lists"]>>();

  *of(port: MovedPort, before: WorkloadAtSide, after: WorkloadAtSide): Iterable<PortLoss> {
    if (isPast(port.was, before) || isPast(port.was, after)) return;
    if (isPast(port.is, after)) {
      yield { message: "no proxy enforces mTLS and policies there", key: "past", objects: [] };
      return;
    }
    yield* weakerMode(port, before, after);
    if (this.#isFirst(port, after)) yield* moreRequests(port, before, after);
  }

  #isFirst({ was, is }: MovedPort, after: WorkloadAtSide): boolean {
    if (!after.mesh.knowsAll("AuthorizationPolicy")) return false;
    const ports = `${was} ${is}`;
    let compared = this.#compared.get(ports);
    if (compared === undefined) this.#compared.set(ports, (compared = new Set()));
    const { lists } = appliedTo(after);
    if (compared.has(lists) || compared.size >= mostCompared) return false;
    compared.add(lists);
    return true;
  }
}

const isPast = (port: number, { workload, namespace, mesh }: WorkloadAtSide): boolean =>
  bypassesProxy(workload, port, namespace, mesh);

function* weakerMode({ was, is }: MovedPort, before: WorkloadAtSide, after: WorkloadAtSide): Iterable<PortLoss> {
  const now = modeAt(is, after);
  if (now === undefined || !acceptsPlaintext(now)) return;
  const [old, kept] = [modeAt(was, before), modeAt(was, after)];
  if (old === undefined || kept === undefined || acceptsPlaintext(old) || acceptsPlaintext(kept)) return;
  yield {
    message: `its mTLS mode is ${shown(now)}, and was ${shown(old)}`,
    key: "mode",
    objects: [old.by, now.by].filter((policy) => policy !== undefined),
  };
}

function modeAt(port: number, { workload, namespace, mesh }: WorkloadAtSide): EffectiveMode | undefined {
  const [plane] = planesOf(workload, namespace, mesh.settings).planes;
  return plane && atPort(mesh.get(mtls, namespace).of(workload.pod.labels, plane), port);
}

const shown = ({ mode, by }: EffectiveMode): string => (by === undefined ? mode : `${mode} by ${idOf(by)}`);

/** What the policies allow or do not deny at the new port, and did not allow or denied at the old one. */
function* moreRequests({ was, is }: MovedPort, before: WorkloadAtSide, after: WorkloadAtSide): Iterable<PortLoss> {
  if (!before.mesh.knowsAll("AuthorizationPolicy")) return;
  const [old, now] = [appliedTo(before), appliedTo(after)];
  const questions = new Questions((values) => after.mesh.visited(Math.ceil(values / 100)));
  const gainOver = (applied: Applied) => {
    const asked = new Asked(appliedAtPort(applied, was), appliedAtPort(now, is), after.workload);
    return questions.widened(asked).gain ?? questions.denyLost(asked).gain;
  };
  const gain = gainOver(now);
  // With the same policies, the first answer is the second one, too.
  const shownGain = old.lists === now.lists ? gain : gain && gainOver(old);
  if (shownGain === undefined) return;
  const named = new Set(policiesOfGain(shownGain).map(idOf));
  const objects = now.lists.flatMap((list) => list.policies.filter((policy) => named.has(idOf(policy))));
  yield { message: formatGain(shownGain), key: "gain", objects };
}

const appliedTo = ({ workload, namespace, mesh }: WorkloadAtSide): Applied =>
  mesh.get(authorization, namespace).applied.toWorkload(workload);
