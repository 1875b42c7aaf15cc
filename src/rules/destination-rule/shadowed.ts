import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import type { AnyObject } from "../../kube/object.ts";
import { isSameAge, precedence } from "../../mesh/objects/creation-order.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { lossesOfRule, type PolicyLoss } from "../../mesh/traffic/destination-rule-losses.ts";
import { type DestinationRule, hostOfRule } from "../../mesh/traffic/destination-rules.ts";

export const destinationRuleShadowed = defineRule({
  id: "destination-rule-shadowed",
  subject: "DestinationRule",
  reads: [lossesOfRule],
  worksWithout: ["Service", "ServiceEntry"],
  mode: "warn",
  since: "0.1.0",
  tags: ["canary", "mtls"],
  summary: "Another DestinationRule for the same host is used instead, or its settings count in the merge.",
  why: "Of several DestinationRules for one host in one namespace, the traffic policy of the oldest that has one counts as a whole (beside a BackendTLSPolicy each setting of the newest), and of two subsets with one name the older (Istio pilot/pkg/model/destination_rule.go mergeDestinationRule). Of different namespaces, only one is used, and rules with another exportTo are not merged. istiod reports none of this.",
  fix: "Put the settings for a host into one DestinationRule.",
  incident: {
    symptoms: ["no-effect"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Clients do not use the TLS settings, the limits or the subset of this object. `istioctl proxy-config clusters` shows the objects that count in the column DESTINATION RULE.",
    wayOut:
      "Nothing changes until the other object is deleted or an older one is added. Put the settings that are needed into the one that counts.",
    silentWhen: "Both objects say the same, or they have different subsets only.",
    page: "https://istio.io/latest/docs/reference/config/networking/destination-rule/",
  },

  *check(rule, mesh) {
    const host = hostOfRule(rule, mesh.settings);
    if (!isServed(rule, mesh.settings) || host === "") return;
    const { whole, policy, subsets } = mesh.get(lossesOfRule, rule);
    if (whole !== undefined)
      yield problem([], `No client uses this DestinationRule for "${host}": ${idOf(whole)} is used instead`, whole);
    if (policy !== undefined)
      yield problem(
        ["spec", "trafficPolicy"],
        `The trafficPolicy of this DestinationRule has no effect: that of ${idOf(policy.by)} for the same host ${precedenceOf(policy, rule)}`,
        ...[policy.by, ...(policy.beside ? [policy.beside] : [])],
      );
    for (const { i, name, by } of subsets)
      yield problem(
        ["spec", "subsets", i],
        `Subset "${name}" of this DestinationRule has no effect: ${idOf(by)} defines another one with this name for the same host`,
        by,
      );
  },
});

/** Beside a BackendTLSPolicy, the newest counts. */
const precedenceOf = ({ by, beside }: PolicyLoss, rule: DestinationRule): string =>
  beside === undefined
    ? precedence(by, rule)
    : `${isSameAge(by, rule) ? "comes last by name" : "is newer"}, and beside ${idOf(beside)} the newest counts`;

const problem = (at: Problem["at"], message: string, ...by: readonly AnyObject[]): Problem => ({
  at,
  message,
  related: by,
  evidence: by,
});
