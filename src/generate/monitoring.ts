import { alertGroups, alerts, type Alert } from "../deploy/alerts.ts";
import { dashboard } from "../deploy/dashboard.ts";
import { yamlText } from "../deploy/yaml.ts";
import type { GeneratedFile } from "./rule-pages.ts";

/** deploy/monitoring/ and the page of the alerts. */
export const monitoringFiles = (): readonly GeneratedFile[] => [
  { path: "deploy/monitoring/dashboard.json", content: `${JSON.stringify(dashboard(), null, 2)}\n` },
  { path: "deploy/monitoring/alerts.yaml", content: `${generated}${yamlText({ groups: alertGroups() })}` },
  { path: "docs/alerts.md", content: alertsPage() },
];

const generated = "# Generated (npm run generate) from src/deploy/alerts.ts.\n";

const alertsPage = (): string =>
  [
    "# Alerts\n",
    "This page is generated (`npm run generate`) from `src/deploy/alerts.ts`. `deploy/monitoring/alerts.yaml` has the rules for",
    "Prometheus, and `deploy/monitoring/dashboard.json` a dashboard for Grafana. [Observability](observability.md) describes the",
    "metrics. The alerts MeshwardCallsFail and MeshwardFailsOpen need the metrics of the API server.\n",
    ...alerts.flatMap(sectionOf),
  ].join("\n");

const sectionOf = ({ name, severity, expression, for: time, summary, meaning, actions }: Alert): readonly string[] => [
  `## ${name}\n`,
  `**${severity}**: ${summary
    .replaceAll(/\{\{ \$(?:labels\.)?(\w+)(?: \| \w+)? \}\}/g, "<$1>")
    .replaceAll("<", "`<")
    .replaceAll(">", ">`")}\n`,
  `${meaning}\n`,
  ...actions.map((action, i) => `${i + 1}. ${action}`),
  "",
  "```promql",
  expression,
  "```\n",
  time === "0m" ? "It fires at once.\n" : `It fires after ${time}.\n`,
];
