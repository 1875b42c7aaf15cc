import { selectorLabels } from "../deploy/object.ts";
import { ClusterError } from "../sources/cluster/cluster-error.ts";
import { counted } from "../text/phrases.ts";
import { type CheckResult, ok, unknown, warn } from "./check-result.ts";
import { at, type ClusterApi, type Fields, nameOf, objectsIn, textAt } from "./cluster-api.ts";

/** The port of /readyz and /metrics in the manifests. */
const opsPort = 8080;

/** What each replica says of itself, through the API server: version, readiness and policies. Throws a ClusterError. */
export async function checkReplicas(
  api: ClusterApi,
  namespace: string,
  version: string,
): Promise<readonly CheckResult[]> {
  const selector = Object.entries(selectorLabels).map(([key, value]) => `${key}=${value}`);
  const query = new URLSearchParams({ labelSelector: selector.join(",") }).toString();
  const pods = (await api.list(`/api/v1/namespaces/${namespace}/pods?${query}`)) ?? [];
  if (pods.length === 0)
    return [
      unknown(
        "replicas",
        `There is no pod with ${selector.join(",")} in namespace ${namespace}`,
        "Nothing, if Meshward runs outside of the cluster; otherwise see the Deployment and its events",
      ),
    ];
  const results = await Promise.all(pods.map((pod) => replicaResults(api, namespace, pod, version)));
  return results.flat();
}

async function replicaResults(
  api: ClusterApi,
  namespace: string,
  pod: Fields,
  version: string,
): Promise<readonly CheckResult[]> {
  const name = nameOf(pod);
  const ready = objectsIn(at(pod, "status", "conditions")).find((one) => textAt(one, "type") === "Ready");
  if (textAt(ready, "status") !== "True")
    return [
      warn("replicas", `Pod ${name} is not ready`, `kubectl -n ${namespace} describe pod ${name}, and look at its log`),
    ];
  const page = await metricsPage(api, namespace, name);
  if (typeof page !== "string") return [page];
  const label = /^meshward_build_info\{version="([^"]*)"/m.exec(page)?.[1] ?? "of an unknown version";
  const [loaded, kept, active] = [
    valueOf(page, 'meshward_policies{state="loaded"}'),
    valueOf(page, 'meshward_policies{state="kept"}'),
    valueOf(page, 'meshward_exceptions{state="active"}'),
  ];
  const text = `Pod ${name}: Meshward ${label}, ${counted(loaded + kept, "policy", "policies")} and ${counted(active, "exception")} in force`;
  const results: CheckResult[] = [ok("replicas", text)];
  if (kept > 0)
    results.push(
      warn(
        "policies",
        `Pod ${name} keeps ${counted(kept, "policy", "policies")} in force that the source no longer contains`,
        "Restore them, or withdraw them with spec: { withdrawn: true }",
      ),
    );
  if (label !== version)
    results.push(
      warn(
        "replicas",
        `Pod ${name} is Meshward ${label}, and this doctor is ${version}, so the expected configuration may differ`,
        "Use the doctor of the same version",
      ),
    );
  return results;
}

/** That one pod cannot be asked hides nothing of the others. */
async function metricsPage(api: ClusterApi, namespace: string, name: string): Promise<string | CheckResult> {
  try {
    return await api.text(`/api/v1/namespaces/${namespace}/pods/${name}:${opsPort}/proxy/metrics`);
  } catch (error) {
    if (!(error instanceof ClusterError)) throw error;
    const { message, fault } = error;
    return unknown(
      "replicas",
      `Pod ${name} could not be asked through the API server: ${message}`,
      fault === "forbidden"
        ? "Run doctor as a user who may get pods/proxy, or read the log of the pod"
        : `Look at its log: kubectl -n ${namespace} logs ${name}. Is there a NetworkPolicy or a firewall between the API server and port ${opsPort} of the pod?`,
    );
  }
}

function valueOf(page: string, series: string): number {
  const line = page.split("\n").find((one) => one.startsWith(`${series} `));
  return line === undefined ? 0 : Number(line.slice(series.length + 1));
}
