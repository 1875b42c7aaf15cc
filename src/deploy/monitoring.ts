import { alertGroups } from "./alerts.ts";
import { dashboard } from "./dashboard.ts";
import { installationName, type KubernetesObject, selectorLabels } from "./object.ts";

/**
 * What the Prometheus operator needs to scrape Meshward and to alert, and a dashboard that Grafana's sidecar finds by its
 * label.
 */
export function monitoringObjects(namespace: string): readonly KubernetesObject[] {
  const apiVersion = "monitoring.coreos.com/v1";
  const metadata = { name: installationName, namespace };
  return [
    {
      apiVersion,
      kind: "ServiceMonitor",
      metadata,
      spec: { selector: { matchLabels: selectorLabels }, endpoints: [{ port: "ops", interval: "30s" }] },
    },
    { apiVersion, kind: "PrometheusRule", metadata, spec: { groups: alertGroups() } },
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { ...metadata, name: `${installationName}-dashboard`, labels: { grafana_dashboard: "1" } },
      data: { "meshward.json": `${JSON.stringify(dashboard(), null, 2)}\n` },
    },
  ];
}
