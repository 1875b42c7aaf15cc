import type { AnyObject, ObjectOf } from "../kube/object.ts";
import { idOf } from "../kube/identity.ts";
import { isHiddenFrom } from "../mesh/client-tls/hidden-clients.ts";
import { sentByAuto, tlsModeOf } from "../mesh/client-tls/client-tls.ts";
import { policiesOf, policyRulesFor } from "../mesh/traffic/policy-rules.ts";
import type { Workload } from "../mesh/membership/workloads.ts";
import { readers } from "../mesh/membership/control-plane.ts";
import { namespaceIn } from "../mesh/membership/namespaces.ts";
import { formatLabels } from "../mesh/objects/selectors.ts";
import {
  type DestinationHost,
  destinationRuleChoices,
  destinationRulesOfHost,
  type PassedOverDestinationRule,
  subsetWorkloads,
} from "../mesh/traffic/destination-rule-choices.ts";
import type { MergedDestinationRule } from "../mesh/traffic/destination-rule-merge.ts";
import type { DestinationRule } from "../mesh/traffic/destination-rules.ts";
import { hostIn } from "../mesh/traffic/host-definition.ts";
import { policyAt } from "../mesh/traffic/effective-policy.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { AllMeshSettings } from "../view/settings.ts";
import type { Mesh } from "../view/view.ts";
import { type Balanced, balancingLines, localityLines, trafficDistributionOf } from "./load-balancing.ts";
import { listed } from "./wording.ts";

type TrafficPolicy = DestinationRule["spec"]["trafficPolicy"];

/**
 * The DestinationRule that clients use, with its settings, and those that they do not use. `workloads` are those of the
 * host; undefined if they are not known.
 */
export function destinationRuleLines(
  destination: DestinationHost,
  workloads: readonly Workload[] | undefined,
  mesh: Mesh,
): readonly ExplanationLine[] {
  const { service, entries } = hostIn(mesh, destination.host);
  const definitions = [...(service === undefined ? [] : [service]), ...entries];
  const made = policyRulesFor(destination.host, definitions, mesh);
  const rules = [...made, ...destinationRulesOfHost(destination.host, mesh)];
  const controlPlane = mesh.get(readers, namespaceIn(mesh, destination.client)).ofSidecar({});
  const { used, passedOver } = destinationRuleChoices({ ...destination, controlPlane }, rules, mesh.settings);
  const passed = passedOver.map((one) => passedOverLine(one, destination.client));
  const owner = destination.namespace;
  const hidden = used.find((one) => one && owner && isHiddenFrom(destination.client, one, owner, mesh));
  if (hidden !== undefined) return [{ ...hiddenLine(hidden, destination.client), lines: passed }];
  const balanced = { settings: mesh.settings, distribution: service && trafficDistributionOf(service, mesh) };
  const isExternal = service === undefined && entries.length > 0 && entries.every(isOutsideMesh);
  const lines = used.map((merged) => usedLine(merged, { workloads, isExternal }, balanced));
  const [only] = lines;
  if (lines.length === 1 && only !== undefined) return [{ ...only, lines: [...(only.lines ?? []), ...passed] }];
  return [
    ...lines,
    ...(passed.length > 0 ? [{ key: "destinationRule.others", text: "Other DestinationRules", lines: passed }] : []),
  ];
}

function hiddenLine(merged: MergedDestinationRule, client: string): ExplanationLine {
  const sources = sourcesOf(merged);
  return {
    key: "destinationRule",
    text: `No DestinationRule is used: the Sidecars for workloads in ${client} do not import the host, so ${sources.map(idOf).join(" + ")} has no effect`,
    value: [],
    objects: sources,
  };
}

/** The DestinationRules of users, and the BackendTLSPolicies that fill their gaps. */
const sourcesOf = ({ from, made }: MergedDestinationRule): readonly AnyObject[] => [
  ...from,
  ...(made === undefined ? [] : policiesOf(made)),
];

interface Served {
  readonly workloads: readonly Workload[] | undefined;
  /** Whether the host is outside of the mesh. */
  readonly isExternal: boolean;
}

/** What clients send to a host without settings for TLS. Proxies start no mTLS to hosts outside (pilot/pkg/networking/core/cluster_tls.go). */
function withoutSettings(isExternal: boolean, autoMtls: boolean): string {
  if (isExternal) return "no TLS is added, because the host is outside of the mesh";
  return sentByAuto(autoMtls);
}

function usedLine(
  merged: MergedDestinationRule | undefined,
  { workloads, isExternal }: Served,
  balanced: Balanced,
): ExplanationLine {
  const otherwise = withoutSettings(isExternal, balanced.settings.autoMtls);
  if (merged === undefined)
    return {
      key: "destinationRule",
      text: `No DestinationRule is used: ${otherwise}, no subsets`,
      value: [],
      lines: [...limitLines(undefined, balanced.settings), ...localityLines(undefined, balanced)],
    };
  const { made, selector, trafficPolicy, subsets } = merged;
  const from = sourcesOf(merged);
  const which =
    made === undefined ? "the oldest trafficPolicy" : "the newest trafficPolicy, of which others fill the gaps,";
  const who = selector === undefined ? "" : ` for clients with ${formatLabels(selector) || "any labels"}`;
  const together = from.length > 1 ? `, merged: ${which} and all subsets` : "";
  return {
    key: "destinationRule",
    of: from.map(idOf).join(" + "),
    text: `${from.map(idOf).join(" + ")} ${from.length > 1 ? "are" : "is"} used${who}${together}`,
    value: from.map(idOf),
    objects: from,
    lines: [
      tlsLine("", trafficPolicy, { otherwise, isExternal }),
      ...limitLines(trafficPolicy, balanced.settings),
      ...balancingLines(trafficPolicy, balanced),
      ...(trafficPolicy?.portLevelSettings ?? []).map((one) => portLine(one, balanced.settings)),
      ...subsets.map((subset) => subsetLine(subset, trafficPolicy, workloads)),
    ],
  };
}

/** MESH_EXTERNAL is the default (istio.io/api networking/v1alpha3/service_entry.proto). */
const isOutsideMesh = ({ spec }: ObjectOf<"ServiceEntry">): boolean =>
  (spec.location || "MESH_EXTERNAL") === "MESH_EXTERNAL";

type Policy = { readonly tls: Parameters<typeof tlsModeOf>[0] | undefined } | undefined;
const tlsMode = (policy: Policy): string | undefined => policy?.tls && tlsModeOf(policy.tls);

const meanings: Readonly<Record<string, string>> = {
  DISABLE: "plaintext, which STRICT refuses",
  SIMPLE: "TLS without a mesh certificate, which STRICT refuses",
  MUTUAL: "TLS with a configured certificate, which STRICT refuses unless it is a mesh certificate",
  ISTIO_MUTUAL: "mTLS with mesh certificates",
};

const meaningsOutside: typeof meanings = {
  DISABLE: "no TLS is added",
  SIMPLE: "the proxy starts TLS",
  MUTUAL: "the proxy starts TLS, with a configured certificate",
  ISTIO_MUTUAL: "the proxy starts TLS, with its mesh certificate",
};

function tlsLine(
  where: string,
  trafficPolicy: TrafficPolicy,
  { otherwise, isExternal }: { readonly otherwise: string; readonly isExternal: boolean },
): ExplanationLine {
  const mode = tlsMode(trafficPolicy);
  const meaning = mode && (isExternal ? meaningsOutside : meanings)[mode];
  const text = mode === undefined ? `not set: ${otherwise}` : `${mode}: ${meaning ?? "not a mode that Istio supports"}`;
  return { key: "destinationRule.tls", of: where, text: `tls${where} ${text}`, value: mode ?? "not set" };
}

function portLine(
  ofPort: NonNullable<TrafficPolicy>["portLevelSettings"][number],
  settings: AllMeshSettings,
): ExplanationLine {
  const port = String(ofPort.port?.number ?? "?");
  const mode = tlsMode(ofPort);
  return {
    key: "destinationRule.port",
    of: port,
    text: `port ${port}: its settings replace all settings above; tls ${mode ?? "not set"}`,
    value: mode ?? "not set",
    lines: limitLines(ofPort, settings),
  };
}

type Limits = Pick<NonNullable<TrafficPolicy>, "connectionPool" | "outlierDetection">;

const byMeshConfig = ", by the mesh config";

/**
 * The circuit breaker of a policy. A block that it does not have is that of the mesh config (Istio
 * pilot/pkg/networking/core/cluster_traffic_policy.go applyDefaultTrafficPolicy), or else there is no limit, and no pod is ejected.
 */
function limitLines(
  policy: Limits | undefined,
  { defaultTrafficPolicy: otherwise }: AllMeshSettings,
): readonly ExplanationLine[] {
  const { connectionPool, outlierDetection } = policy ?? {};
  return [
    ...(connectionPool === undefined ? poolLines(otherwise?.connectionPool, byMeshConfig) : poolLines(connectionPool)),
    ...(outlierDetection === undefined
      ? outlierLines(otherwise?.outlierDetection, byMeshConfig)
      : outlierLines(outlierDetection)),
  ];
}

function poolLines(pool: Limits["connectionPool"], by = ""): readonly ExplanationLine[] {
  const { tcp, http } = pool ?? {};
  const limits = [
    ["connections", tcp?.maxConnections],
    ["pending requests", http?.http1MaxPendingRequests],
    ["requests at a time", http?.http2MaxRequests],
  ] as const;
  const shown = limits.flatMap(([what, limit]) => (limit ? [`${limit} ${what}`] : []));
  if (shown.length === 0) return [];
  return [
    {
      key: "destinationRule.limits",
      text: `at most ${shown.join(", ")} for each client proxy; requests beyond that wait or get 503${by}`,
      value: shown,
    },
  ];
}

/** Istio pilot/pkg/networking/core/cluster_traffic_policy.go applyOutlierDetection; the defaults are those of Envoy. */
function outlierLines(outlier: Limits["outlierDetection"], by = ""): readonly ExplanationLine[] {
  if (outlier === undefined) return [];
  const { consecutive5xxErrors, consecutiveGatewayErrors } = outlier;
  const maxEjectionPercent = outlier.maxEjectionPercent || 10;
  const conditions = [
    ...(consecutive5xxErrors === 0 ? [] : [`${consecutive5xxErrors ?? 5} errors 5xx in a row`]),
    ...(consecutiveGatewayErrors ? [`${consecutiveGatewayErrors} errors 502, 503 or 504 in a row`] : []),
  ];
  const when = conditions.length === 0 ? "never" : `after ${conditions.join(", or ")}`;
  return [
    {
      key: "destinationRule.outlier",
      text: `a pod is ejected ${when}; at most ${maxEjectionPercent}% of the pods at a time${by}`,
      value: conditions,
    },
  ];
}

function subsetLine(
  subset: MergedDestinationRule["subsets"][number],
  trafficPolicy: TrafficPolicy,
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
    lines: subsetLimitLines(subset.trafficPolicy, trafficPolicy),
  };
}

function passedOverLine({ rule, because, by }: PassedOverDestinationRule, client: string): ExplanationLine {
  const policies = by === undefined ? [] : policiesOf(by);
  const other = by === undefined ? "another one" : (policies.length > 0 ? policies : [by]).map(idOf).join(" + ");
  const reasons: Readonly<Record<typeof because, string>> = {
    "not-read":
      "the control plane of these clients does not have the revision in its label istio.io/rev, or it is being deleted",
    capitals: "its host has upper-case letters, and service names have none",
    elsewhere: "only the namespaces of the client and the service and the root namespace are searched",
    "not-exported": `it is not exported to ${client}`,
    "less-specific": `${other} ${policies.length > 1 ? "are" : "is"} for a more specific host`,
    "later-namespace": `${other} ${policies.length > 1 ? "are" : "is"} found first, and the search ends in its namespace`,
    apart: `its exportTo or workloadSelector differs, so it is not merged with ${other}, which ${policies.length > 1 ? "are" : "is"} used`,
  };
  return objectLine(
    "destinationRule.passedOver",
    rule,
    `${idOf(rule)} (${rule.spec.host}) is not used: ${reasons[because]}`,
    {
      value: because,
      counts: false,
    },
  );
}

/** Only what differs from the limits of the whole host, and for which ports. */
function subsetLimitLines(own: TrafficPolicy, inherited: TrafficPolicy): readonly ExplanationLine[] {
  const ofSubset = new Set(portsIn(own));
  const lines = differingLines(own, inherited, undefined);
  for (const port of new Set([...ofSubset, ...portsIn(inherited)])) {
    const differing = differingLines(own, inherited, port);
    const text = ofSubset.has(port)
      ? `port ${port}: its settings replace all settings above`
      : `port ${port}: what the subset does not set is that of the port above`;
    if (ofSubset.has(port) || differing.length > 0)
      lines.push({ key: "destinationRule.subset.port", of: String(port), text, lines: differing });
  }
  return lines;
}

const portsIn = (policy: TrafficPolicy): readonly number[] =>
  (policy?.portLevelSettings ?? []).flatMap(({ port }) => port?.number ?? []);

function differingLines(own: TrafficPolicy, inherited: TrafficPolicy, port: number | undefined): ExplanationLine[] {
  const effective = policyAt(inherited, own, port);
  const ofHost = policyAt(inherited, undefined, port);
  const differs = (name: keyof Limits) => effective[name] !== ofHost[name];
  return [
    ...(differs("connectionPool") ? poolLines(effective.connectionPool) : []),
    ...(differs("outlierDetection") ? outlierLines(effective.outlierDetection) : []),
  ];
}
