import { idOf } from "../kube/identity.ts";
import { tlsModeOf } from "../mesh/client-tls/client-tls.ts";
import type { Workload } from "../mesh/membership/workloads.ts";
import { formatLabels } from "../mesh/objects/selectors.ts";
import {
  type DestinationHost,
  destinationRuleChoices,
  destinationRulesOfHost,
  type PassedOverDestinationRule,
  subsetWorkloads,
} from "../mesh/traffic/destination-rule-choices.ts";
import type { DestinationRule, MergedDestinationRule } from "../mesh/traffic/destination-rules.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";
import { listed } from "./wording.ts";

type TrafficPolicy = DestinationRule["spec"]["trafficPolicy"];

/**
 * Which DestinationRule clients use, with what it sets, and which were passed over. `workloads` are those behind the
 * host; undefined: nobody has shown them.
 */
export function destinationRuleLines(
  destination: DestinationHost,
  workloads: readonly Workload[] | undefined,
  mesh: Mesh,
): readonly ExplanationLine[] {
  const rules = destinationRulesOfHost(destination.host, mesh);
  const { used, passedOver } = destinationRuleChoices(destination, rules, mesh.settings);
  const passed = passedOver.map((one) => passedOverLine(one, destination.client));
  const lines = used.map((merged) => usedLine(merged, workloads, mesh.settings.autoMtls));
  const [only] = lines;
  if (lines.length === 1 && only !== undefined) return [{ ...only, lines: [...(only.lines ?? []), ...passed] }];
  return [
    ...lines,
    ...(passed.length > 0 ? [{ key: "destinationRule.others", text: "Other DestinationRules", lines: passed }] : []),
  ];
}

function usedLine(
  merged: MergedDestinationRule | undefined,
  workloads: readonly Workload[] | undefined,
  autoMtls: boolean,
): ExplanationLine {
  const otherwise = autoMtls ? "mTLS wherever the other side has it" : "plaintext, because auto mTLS is off";
  if (merged === undefined)
    return {
      key: "destinationRule",
      text: `No DestinationRule is used: ${otherwise}, no subsets`,
      value: [],
    };
  const { from, selector, trafficPolicy, subsets } = merged;
  const who = selector === undefined ? "" : ` for clients with ${formatLabels(selector) || "any labels"}`;
  const together = from.length > 1 ? ", merged: the oldest trafficPolicy and all subsets" : "";
  return {
    key: "destinationRule",
    of: from.map(idOf).join(" + "),
    text: `${from.map(idOf).join(" + ")} ${from.length > 1 ? "are" : "is"} used${who}${together}`,
    value: from.map(idOf),
    objects: from,
    lines: [
      tlsLine("", trafficPolicy, otherwise),
      ...(trafficPolicy?.portLevelSettings ?? []).map(portLine),
      ...subsets.map((subset) => subsetLine(subset, workloads)),
    ],
  };
}

type Policy = { readonly tls: Parameters<typeof tlsModeOf>[0] | undefined } | undefined;
const tlsMode = (policy: Policy): string | undefined => policy?.tls && tlsModeOf(policy.tls);

const meanings: Readonly<Record<string, string>> = {
  DISABLE: "plaintext, which STRICT refuses",
  SIMPLE: "TLS without a certificate of the mesh, which STRICT refuses",
  MUTUAL: "TLS with a certificate of its own, which STRICT refuses unless it is one of the mesh",
  ISTIO_MUTUAL: "mTLS with certificates of the mesh",
};

function tlsLine(where: string, trafficPolicy: TrafficPolicy, otherwise: string): ExplanationLine {
  const mode = tlsMode(trafficPolicy);
  const text =
    mode === undefined ? `not set: ${otherwise}` : `${mode}: ${meanings[mode] ?? "no mode that Istio knows"}`;
  return { key: "destinationRule.tls", of: where, text: `tls${where} ${text}`, value: mode ?? "not set" };
}

function portLine(settings: NonNullable<TrafficPolicy>["portLevelSettings"][number]): ExplanationLine {
  const port = String(settings.port?.number ?? settings.port?.name ?? "?");
  const mode = tlsMode(settings);
  return {
    key: "destinationRule.port",
    of: port,
    text: `port ${port}: its own settings take the place of all above; tls ${mode ?? "not set"}`,
    value: mode ?? "not set",
  };
}

function subsetLine(
  subset: MergedDestinationRule["subsets"][number],
  workloads: readonly Workload[] | undefined,
): ExplanationLine {
  const labels = formatLabels(subset.labels);
  const mode = tlsMode(subset.trafficPolicy);
  const tls = mode === undefined ? "" : `; tls ${mode}`;
  const found = workloads === undefined ? undefined : subsetWorkloads(subset, workloads);
  const who = found === undefined ? "" : found.length === 0 ? ": no workload has these labels" : `: ${listed(found)}`;
  return {
    key: "destinationRule.subset",
    of: subset.name,
    text: `subset ${subset.name} (${labels || "no labels"})${who}${tls}`,
    value: mode ?? "not set",
    ...(found === undefined ? {} : { objects: found }),
  };
}

function passedOverLine({ rule, because, by }: PassedOverDestinationRule, client: string): ExplanationLine {
  const other = by === undefined ? "another one" : idOf(by);
  const reasons: Readonly<Record<typeof because, string>> = {
    "not-read": "no control plane serves its istio.io/rev",
    capitals: "its host has capitals, and no service has",
    elsewhere: "only the client's, the service's and the root namespace are looked at",
    "not-exported": `it is not exported to ${client}`,
    "less-specific": `${other} is for a more specific host`,
    "later-namespace": `${other} is found first, and the search ends in its namespace`,
    apart: `another exportTo or workloadSelector keeps it apart from ${other}, which counts`,
  };
  return objectLine(
    "destinationRule.passedOver",
    rule,
    `${idOf(rule)} (${rule.spec.host}) is passed over: ${reasons[because]}`,
    {
      value: because,
      counts: false,
    },
  );
}
