import { idOf } from "../kube/identity.ts";
import type { Namespace } from "../mesh/membership/namespaces.ts";
import type { Workload } from "../mesh/membership/workloads.ts";
import {
  telemetryDefaults,
  type Telemetry,
  type TelemetryDefaults,
  writesLog,
  writesMetrics,
} from "../mesh/telemetry/merged-telemetry.ts";
import { type TelemetryProxy, telemetryOfProxies } from "../mesh/telemetry/telemetry-of-proxies.ts";
import { telemetryAtWaypoints } from "../mesh/waypoints/telemetry-at-waypoints.ts";
import type { ExplanationLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";
import { listed } from "./wording.ts";

/** What the proxy of a workload logs and counts; nothing if no Telemetry applies to it. */
export const workloadTelemetryLines = (
  workload: Workload,
  namespace: Namespace,
  mesh: Mesh,
): readonly ExplanationLine[] =>
  linesOf(mesh.get(telemetryOfProxies, namespace).ofWorkload(workload), ["proxy", "its proxy"], namespace, mesh);

/** The same for the sidecars of a namespace that nothing selects, and for the waypoint of its Services. */
export function namespaceTelemetryLines(
  namespace: Namespace,
  hasSidecars: boolean,
  mesh: Mesh,
): readonly ExplanationLine[] {
  const { forAll } = mesh.get(telemetryOfProxies, namespace);
  const sidecars: Used = { side: "SERVER", isSure: true, telemetries: forAll };
  const atWaypoints = mesh.get(telemetryAtWaypoints, namespace).ofOthers();
  return [
    ...linesOf(hasSidecars ? sidecars : undefined, ["sidecars", "sidecars that none selects"], namespace, mesh),
    ...atWaypoints.flatMap((proxy) => linesOf(proxy, [proxy.id, `the ${proxy.id} of its Services`], namespace, mesh)),
  ];
}

/** The same for a waypoint that serves a Service, and its canary. */
export const serviceTelemetryLines = (service: string, namespace: Namespace, mesh: Mesh): readonly ExplanationLine[] =>
  mesh
    .get(telemetryAtWaypoints, namespace)
    .ofDestination("Service", service)
    .flatMap((proxy) => linesOf(proxy, [proxy.id, `the ${proxy.id}`], namespace, mesh));

type Used = Pick<TelemetryProxy, "side" | "isSure" | "telemetries">;

function linesOf(
  proxy: Used | undefined,
  [of, whose]: readonly [of: string, whose: string],
  namespace: Namespace,
  mesh: Mesh,
): readonly ExplanationLine[] {
  if (proxy === undefined || proxy.telemetries.length === 0) return [];
  const { telemetries } = proxy;
  const defaults = mesh.get(telemetryDefaults, namespace);
  const [log, metrics] = [stateOf(writesLog, proxy, defaults), stateOf(writesMetrics, proxy, defaults)];
  const order = telemetries.length === 1 ? "" : ", of which later ones win";
  return [
    {
      key: "telemetry",
      of,
      text: `Telemetry of ${whose}: access log ${shown[log]}, metrics ${shown[metrics]}, by ${listed(telemetries)}${order}`,
      value: { log, metrics, telemetries: telemetries.map(idOf) },
      objects: telemetries,
    },
  ];
}

type State = "on" | "off" | "unknown";
type Writes = (telemetries: readonly Telemetry[], defaults: TelemetryDefaults, side: TelemetryProxy["side"]) => boolean;

/** Unknown: it depends on a mesh config that is not known, or control planes have different ones. */
function stateOf(writes: Writes, { telemetries, side, isSure }: Used, defaults: readonly TelemetryDefaults[]): State {
  const [first, ...others] = new Set(defaults.map((one) => writes(telemetries, one, side)));
  if (first === undefined || others.length > 0 || !isSure) return "unknown";
  return first ? "on" : "off";
}

const shown: Readonly<Record<State, string>> = { on: "on", off: "off", unknown: "not known" };
