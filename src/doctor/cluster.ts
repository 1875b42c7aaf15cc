import type { Rule } from "../engine/rule.ts";
import { kindsFollowed } from "../engine/declared-reads.ts";
import { allKinds, kinds, type Served } from "../kube/kinds.ts";
import { counted } from "../text/phrases.ts";
import { isInConfigMaps, titleOf } from "../sources/cluster/resources.ts";
import { type CheckResult, fail, ok, unknown, warn } from "./check-result.ts";
import { type ClusterApi, nameOf, objectsIn, textAt } from "./cluster-api.ts";

/** matchConditions of webhooks are stable since this minor version. */
const oldestMinor = 30;

/** Throws a ClusterError. */
export async function checkVersion(api: ClusterApi): Promise<readonly CheckResult[]> {
  const version = await api.get("/version");
  const text = textAt(version, "gitVersion");
  const minor = Number.parseInt(textAt(version, "minor"), 10);
  if (Number.isNaN(minor))
    return [unknown("kubernetes", `${api.server} does not tell its version`, "Nothing, if the other checks pass")];
  return textAt(version, "major") === "1" && minor < oldestMinor
    ? [
        fail(
          "kubernetes",
          `Kubernetes ${text} is older than 1.${oldestMinor}, which the webhooks need`,
          "Upgrade Kubernetes",
        ),
      ]
    : [ok("kubernetes", `Kubernetes ${text} at ${api.server}`)];
}

const mostSkewMs = 30_000;

/** The clock of this machine: inside the cluster, that of a node. Throws a ClusterError. */
export async function checkClock(api: ClusterApi, now: () => number): Promise<readonly CheckResult[]> {
  const before = now();
  const theirs = await api.time();
  if (theirs === undefined) return [];
  // The header has whole seconds.
  const skewMs = Math.max(0, Math.abs(theirs - (before + now()) / 2) - 1_000);
  const seconds = Math.round(skewMs / 1_000);
  return [
    skewMs > mostSkewMs
      ? warn(
          "clock",
          `The clock of this machine and that of the API server differ by ${seconds} s`,
          "Synchronize the clocks of the nodes: certificates and the order of policies depend on them",
        )
      : ok("clock", "The clocks of this machine and of the API server agree"),
  ];
}

/** Whether the kinds that the rules read are served. Throws a ClusterError. */
export async function checkKinds(api: ClusterApi, rules: readonly Rule[]): Promise<readonly CheckResult[]> {
  const followed = kindsFollowed(rules);
  const served = allKinds
    .filter((kind) => followed.has(kind) && !isInConfigMaps(kind))
    .flatMap((kind) => kinds[kind].served);
  const groups = Map.groupBy(served, ({ group }) => group);
  const results = await Promise.all([...groups].map(([group, members]) => groupResult(api, group, members)));
  return results.flat();
}

async function groupResult(
  api: ClusterApi,
  group: string,
  members: readonly Served[],
): Promise<readonly CheckResult[]> {
  const versions = [...new Set(members.flatMap((one) => one.versions))];
  const root = group === "" ? "/api" : `/apis/${group}`;
  const lists = await Promise.all(
    versions.map(async (version) => [version, await api.get(`${root}/${version}`)] as const),
  );
  const found = lists.map(
    ([version, list]) => [version, new Set(objectsIn(list?.["resources"]).map((one) => textAt(one, "name")))] as const,
  );
  const missing = members.filter(
    ({ plural, versions: own }) => !found.some(([version, names]) => own.includes(version) && names.has(plural)),
  );
  const title = group === "" ? "core" : group;
  if (missing.length === 0) return [ok("kinds", `${title}: ${counted(members.length, "kind")} served`)];
  const all = missing.length === members.length;
  const text = all ? `${title}: not served` : `${title}: not served: ${missing.map(titleOf).join(", ")}`;
  const advice =
    "Install the definitions of Istio and the Gateway API. Until then, rules that need these kinds do not run";
  if (group.endsWith(".istio.io")) return [(all ? fail : warn)("kinds", text, advice)];
  return [group === gatewayGroup ? warn("kinds", text, advice) : ok("kinds", `${text}, which is no problem`)];
}

const gatewayGroup = "gateway.networking.k8s.io";

/** Other webhooks that can change Namespaces after Meshward has. Throws a ClusterError. */
export async function checkOtherWebhooks(api: ClusterApi, own: string): Promise<readonly CheckResult[]> {
  const configurations = await api.list("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations");
  const others = (configurations ?? [])
    .filter((configuration) => nameOf(configuration) !== own)
    .flatMap((configuration) =>
      objectsIn(configuration["webhooks"])
        .filter((webhook) => objectsIn(webhook["rules"]).some(matchesNamespaces))
        .map((webhook) => `${nameOf(configuration)} (${textAt(webhook, "name")})`),
    );
  if (others.length === 0) return [ok("other-webhooks", "No other mutating webhook changes Namespaces")];
  return [
    warn(
      "other-webhooks",
      `Other mutating webhooks may change Namespaces, and the labels that Meshward adds: ${others.join(", ")}`,
      "Make sure that they leave the labels istio.io/dataplane-mode and istio.io/use-waypoint as they are",
    ),
  ];
}

function matchesNamespaces(rule: Readonly<Record<string, unknown>>): boolean {
  const has = (field: string, ...wanted: readonly string[]): boolean => {
    const values = rule[field];
    return Array.isArray(values) && values.some((value) => wanted.includes(String(value)));
  };
  return (
    has("apiGroups", "", "*") &&
    has("resources", "namespaces", "*", "*/*") &&
    has("operations", "CREATE", "UPDATE", "*")
  );
}

/** Meshward's own namespace has to stay out of the mesh, because the API server cannot call pods that require mTLS. Throws a ClusterError. */
export async function checkOwnNamespace(api: ClusterApi, namespace: string): Promise<readonly CheckResult[]> {
  const found = await api.get(`/api/v1/namespaces/${namespace}`);
  if (found === undefined)
    return [fail("namespace", `Namespace ${namespace} does not exist`, "Give --namespace if Meshward has another one")];
  const label = (key: string): string => textAt(found, "metadata", "labels", key);
  const isIn =
    label("istio-injection") === "enabled" ||
    label("istio.io/rev") !== "" ||
    label("istio.io/dataplane-mode") === "ambient";
  return [
    isIn
      ? fail(
          "namespace",
          `Namespace ${namespace} is in the mesh that Meshward guards: with STRICT mTLS, the API server can no longer call it`,
          `kubectl label namespace ${namespace} istio-injection- istio.io/rev- istio.io/dataplane-mode-`,
        )
      : ok("namespace", `Namespace ${namespace} is not in the mesh`),
  ];
}
