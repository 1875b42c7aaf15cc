import type { Labels, ObjectOf } from "../../kube/object.ts";
import { fact } from "../../view/view.ts";
import { policyLevelsAtZtunnel } from "../authorization/policy-levels.ts";
import { actionOf, type AuthorizationPolicy } from "../authorization/policies.ts";
import { reachOf } from "../authorization/reach.ts";
import { asksForHttp } from "../authorization/rules.ts";
import { type Attached, type Caller, ZtunnelAnswers } from "../authorization/ztunnel-callers.ts";
import { captured } from "../membership/captured.ts";
import { labelsOfWorkloadEntry, workloadEntriesOfNamespace } from "../membership/workload-entries.ts";
import { selects } from "../objects/selectors.ts";
import { accountsOf } from "./admitted-callers.ts";
import type { Destination } from "./served-traffic.ts";
import type { MeshSettings } from "../../view/settings.ts";

/** Whether ztunnel itself keeps everybody but a waypoint and some others away from workloads of a namespace. */
class KeptByZtunnel {
  readonly #answers: ZtunnelAnswers;
  readonly #workloads: (selector: Labels) => readonly ObjectOf<"Workload">[];
  readonly #settings: MeshSettings;

  constructor(
    answers: ZtunnelAnswers,
    workloads: (selector: Labels) => readonly ObjectOf<"Workload">[],
    settings: MeshSettings,
  ) {
    this.#answers = answers;
    this.#workloads = workloads;
    this.#settings = settings;
  }

  /**
   * Whether each of the selected workloads refuses every caller but some service accounts, which are given as `<namespace>/<name>`. False if
   * there are no workloads.
   */
  from(isExpected: (account: string) => boolean, selector: Labels): boolean {
    const attached = new Set(this.#workloads(selector).map(({ pod }) => this.#answers.attachedTo(pod.labels)));
    return attached.size > 0 && [...attached].every((policies) => this.#admitsOnly(isExpected, policies));
  }

  /** Whether one of the selected workloads lets a caller in, for some of its requests at least. False if there are no workloads. */
  letsIn(caller: Caller, selector: Labels): boolean {
    return this.#workloads(selector).some(
      ({ pod }) => this.#answers.to(caller, this.#answers.attachedTo(pod.labels)) !== "refused",
    );
  }

  #admitsOnly(isExpected: (account: string) => boolean, attached: Attached): boolean {
    const policies = attached.flat();
    const denies = policies.some(
      (policy) =>
        actionOf(policy) === "DENY" &&
        (reachOf(policy, "ztunnel", this.#settings) === "everyone" || this.#deniesOthers(policy, isExpected)),
    );
    const allowing = policies.filter((policy) => actionOf(policy) === "ALLOW");
    return denies || (allowing.length > 0 && allowing.every((policy) => this.#names(policy, isExpected)));
  }

  /** Whether a rule of a DENY policy leaves out such accounts and nobody else. */
  #deniesOthers({ metadata, spec }: AuthorizationPolicy, isExpected: (account: string) => boolean): boolean {
    return spec.rules.some(
      ({ from, to, when }) =>
        to.length === 0 &&
        when.length === 0 &&
        from.some(({ source: { notPrincipals, notServiceAccounts, ...others } }) => {
          if (Object.values(others).some((values) => values.length > 0)) return false;
          const named = { principals: notPrincipals, serviceAccounts: notServiceAccounts };
          const accounts = accountsOf(named, metadata.namespace, this.#settings);
          return accounts.length > 0 && accounts.every(isExpected);
        }),
    );
  }

  /** Whether all rules of an ALLOW policy name such accounts and nobody else. ztunnel ignores rules that ask for HTTP. */
  #names({ metadata, spec }: AuthorizationPolicy, isExpected: (account: string) => boolean): boolean {
    return spec.rules.every((rule) => {
      if (asksForHttp(rule)) return true;
      const named = rule.from.map(({ source }) => accountsOf(source, metadata.namespace, this.#settings));
      return named.length > 0 && named.every((accounts) => accounts.length > 0 && accounts.every(isExpected));
    });
  }
}

/** Whether ztunnel keeps callers away from the workloads of a namespace that it captures. */
export const keptByZtunnel = fact(
  "keptByZtunnel",
  "Namespace",
  [policyLevelsAtZtunnel, captured, workloadEntriesOfNamespace],
  (namespace, mesh) => {
    const { own, meshWide } = mesh.get(policyLevelsAtZtunnel, namespace);
    const answers = new ZtunnelAnswers(meshWide === undefined ? [own] : [own, meshWide], mesh.settings);
    const all = mesh.get(captured, namespace);
    const machines = mesh.related(workloadEntriesOfNamespace, namespace);
    const selected = (selector: Labels) => {
      mesh.visited(machines.length);
      // No ztunnel is in front of a machine outside the cluster.
      if (machines.some((machine) => selects(selector, labelsOfWorkloadEntry(machine)))) return [];
      const workloads = all.workloads.selected(selector);
      mesh.visited(workloads.length);
      // A workload that ztunnel does not capture is not kept by it.
      return all.ambient.selected(selector).length === workloads.length ? workloads : [];
    };
    return new KeptByZtunnel(answers, selected, mesh.settings);
  },
);

/** The labels of the pods that receive what is sent to an object, or to all objects of a kind without a label; undefined: they are not known. */
export function podsBehind({ kind, object }: Destination): Labels | undefined {
  if (object === undefined) return kind === "ServiceEntry" ? undefined : {};
  if (object.kind === "Workload") return object.pod.labels;
  if (object.kind !== "Service") return undefined;
  return Object.keys(object.spec.selector).length === 0 ? undefined : object.spec.selector;
}
