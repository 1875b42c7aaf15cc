import type { Labels } from "../../kube/object.ts";
import { idOf } from "../../kube/identity.ts";
import { fact } from "../../view/view.ts";
import { policyLevelsAtZtunnel } from "../authorization/policy-levels.ts";
import { type Answer, type Attached, type Caller, ZtunnelAnswers } from "../authorization/ztunnel-callers.ts";
import { enrollmentOf } from "../membership/capture.ts";
import { captured } from "../membership/captured.ts";
import type { KubernetesGateway } from "../membership/gateways.ts";
import type { Namespace } from "../membership/namespaces.ts";
import type { Workload } from "../membership/workloads.ts";
import type { Labelled } from "../objects/labelled.ts";
import { identityOfWaypoint, type WaypointName } from "./bindings.ts";

/** A part of a namespace whose traffic goes through a waypoint. */
export interface Front {
  readonly waypoint: WaypointName;
  readonly gateway: KubernetesGateway | undefined;
  readonly namespace: Namespace;
  /** The labels of the pods behind the waypoint. */
  readonly selector: Labels;
  /** Their name in messages; undefined: the whole namespace. */
  readonly shown?: string;
  /** It is a canary, and gets only a share of the connections. */
  readonly isOfShare?: boolean;
}

/** How ztunnel at the pods behind a waypoint treats requests from the waypoint, and requests that bypass it. */
export interface Guard {
  readonly waypoint: WaypointName;
  readonly caller: Caller;
  readonly namespace: Namespace;
  /** For messages: all workloads behind the waypoint if they have the same result, or one workload. */
  readonly behind: string;
  readonly answer: Answer;
  /** The waypoint is a canary, and gets only a share of the connections. */
  readonly isOfShare: boolean;
}

/** The guards of several parts of namespaces, each part once, by key. */
export class Guards {
  readonly fronts: readonly (readonly [key: string, guards: readonly Guard[]])[];
  readonly #answering = new Map<Answer, readonly Guard[]>();

  constructor(fronts: Guards["fronts"]) {
    this.fronts = fronts;
  }

  answering(answer: Answer): readonly Guard[] {
    let found = this.#answering.get(answer);
    if (found === undefined) {
      found = this.fronts.flatMap(([, guards]) => guards.filter((guard) => guard.answer === answer));
      this.#answering.set(answer, found);
    }
    return found;
  }
}

/** How ztunnel at the pods of one namespace treats waypoints. */
class BehindWaypoints {
  readonly #namespace: Namespace;
  readonly #pods: Labelled<Workload>;
  readonly #answers: ZtunnelAnswers;
  readonly #isGuessing: boolean;
  readonly #guards = new Map<string, readonly Guard[]>();
  readonly #attached = new Map<readonly Workload[], AttachedPolicies>();

  /** `isGuessing`: the namespace is ambient, and there may be pods that the view does not contain. */
  constructor(namespace: Namespace, pods: Labelled<Workload>, answers: ZtunnelAnswers, isGuessing: boolean) {
    this.#namespace = namespace;
    this.#pods = pods;
    this.#answers = answers;
    this.#isGuessing = isGuessing;
  }

  /** The workloads behind one waypoint. */
  at(front: Front, key: string): readonly Guard[] {
    const shownKey = JSON.stringify([key, front.shown, front.isOfShare]);
    let found = this.#guards.get(shownKey);
    if (found === undefined) this.#guards.set(shownKey, (found = this.#look(front)));
    return found;
  }

  /** If they are not known, imaginary pods with exactly the selected labels represent them. */
  #look({ waypoint, gateway, selector, shown, isOfShare = false }: Front): readonly Guard[] {
    const namespace = this.#namespace;
    const caller = identityOfWaypoint(waypoint, gateway);
    const guard = { waypoint, caller, namespace, isOfShare };
    const behind = shown ?? `the workloads of ${namespace.metadata.name}`;
    const there = this.#pods.selected(selector);
    if (there.length === 0) {
      return this.#isGuessing
        ? [{ ...guard, behind, answer: this.#answers.to(caller, this.#answers.attachedTo(selector)) }]
        : [];
    }
    const { attached, distinct } = this.#policiesOf(there);
    const answers = distinct.map((policies) => this.#answers.to(caller, policies));
    const [answer] = new Set(answers);
    if (answer !== undefined && answers.every((other) => other === answer)) return [{ ...guard, behind, answer }];
    const known = new Map(distinct.map((policies, i) => [policies, answers[i] as Answer]));
    return there.map((workload, i) => ({
      ...guard,
      behind: idOf(workload),
      answer: known.get(attached[i] as Attached) as Answer,
    }));
  }

  /** The policies for each of the pods, which do not depend on the caller. */
  #policiesOf(pods: readonly Workload[]): AttachedPolicies {
    let found = this.#attached.get(pods);
    if (found === undefined) {
      const attached = pods.map(({ pod }) => this.#answers.attachedTo(pod.labels));
      this.#attached.set(pods, (found = { attached, distinct: [...new Set(attached)] }));
    }
    return found;
  }
}

/** The policies that ztunnel enforces on each of several pods, and the distinct ones among them. */
interface AttachedPolicies {
  readonly attached: readonly Attached[];
  readonly distinct: readonly Attached[];
}

/** How ztunnel at the pods of a namespace treats waypoints. */
export const behindWaypoints = fact(
  "behindWaypoints",
  "Namespace",
  [policyLevelsAtZtunnel, captured],
  (namespace, mesh) => {
    const policies = mesh.get(policyLevelsAtZtunnel, namespace);
    const { own, meshWide } = policies.readBy(policies.readers.ofZtunnel);
    const answers = new ZtunnelAnswers(meshWide === undefined ? [own] : [own, meshWide], mesh.settings);
    const isGuessing = !mesh.knowsAll("Workload") && enrollmentOf(namespace, mesh.settings) === "ambient";
    return new BehindWaypoints(namespace, mesh.get(captured, namespace).ambient, answers, isGuessing);
  },
);
