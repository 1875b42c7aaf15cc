import { auditAnnotations } from "../admission/audit-annotations.ts";
import { eventReasons } from "../kube/object-event.ts";
import { ownMetadata } from "../kube/meshward-metadata.ts";
import { reviewFields } from "../telemetry/log.ts";
import { metricsTable } from "../telemetry/metric-table.ts";
import { createMetrics } from "../telemetry/metrics.ts";

/** docs/observability.md: everything that Meshward exposes about itself, from the tables that the code uses. */
export async function observabilityPage(): Promise<string> {
  return [
    "# What Meshward exposes\n",
    "This page is generated (`npm run generate`) from the tables in the code. [Alerts](alerts.md) are made of the metrics.\n",
    "## Metrics\n",
    "`GET /metrics` of the operations port (`--ops-port`, 8080) has them in the text format of Prometheus. No label contains the",
    "name of a user or an object. A counter whose label values are all known starts at 0.\n",
    ...table(
      ["metric", "type", "labels", "meaning"],
      metricsTable().map(({ name, type, labels, help, values = {} }) => [
        code(name),
        type,
        labels.map((label) => labelCell(label, values[label])).join("<br>"),
        help,
      ]),
    ),
    "\n### Metrics of the process\n",
    ...table(["metric", "type", "meaning"], await processMetrics()),
    "\n## Log\n",
    "Every review is one JSON line on standard output with the message `admission`, at level `info`. Nothing of the content of an",
    "object is logged.\n",
    ...table(
      ["field", "meaning"],
      Object.entries(reviewFields).map(([field, meaning]) => [code(field), meaning]),
    ),
    "\n## Events\n",
    "Meshward writes Events of type Warning, at most ten a second. A repetition within ten minutes increases the count of the",
    "Event. A dry run writes none.\n",
    ...table(
      ["reason", "meaning"],
      Object.entries(eventReasons).map(([reason, meaning]) => [code(reason), meaning]),
    ),
    "\n## Audit annotations\n",
    "The API server adds them to its audit event of the request, at level Metadata or higher, with the name of the webhook as prefix:",
    "`weakenings.validate.meshward.io/decision`, for example. Annotations without a value are left out.\n",
    ...table(
      ["annotation", "meaning"],
      Object.entries(auditAnnotations).map(([key, meaning]) => [code(key), meaning]),
    ),
    "\n## Traces\n",
    "Meshward creates spans through the API of OpenTelemetry: `review /validate` or `review /mutate` for a request, below the",
    "`traceparent` that an API server with tracing sends, and in it `evaluate`, `live read` and `answer`. They have the fields of the",
    "log without the requester. Nothing is recorded without an SDK, which you load: `node --import ./tracing.mjs meshward.js serve`,",
    "where `tracing.mjs` starts the SDK (`@opentelemetry/sdk-node`) and installs an exporter. Without one, the spans of a review cost",
    "about 0.1 microseconds.\n",
    "\n## Labels and annotations on objects\n",
    ...table(
      ["key", "type", "on", "meaning"],
      ownMetadata.map(({ key, type, on, meaning }) => [code(key), type, on, meaning]),
    ),
    "",
  ].join("\n");
}

/** Some of them exist on Linux only, which is where Meshward is installed. */
async function processMetrics(): Promise<readonly (readonly string[])[]> {
  const own = new Set<string>(metricsTable().map(({ name }) => name));
  const text = await createMetrics({ processMetrics: true }).text();
  const types = new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name = "", type = ""]) => [name, type]));
  const found = [...text.matchAll(/^# HELP (\S+) (.*)$/gm)].map(([, name = "", help = ""]) => [name, help] as const);
  return found
    .filter(([name]) => !own.has(name))
    .map(([name, help]) => [code(name), types.get(name) ?? "", help])
    .sort(([a = ""], [b = ""]) => (a < b ? -1 : 1));
}

const labelCell = (label: string, values: readonly string[] | undefined): string =>
  values === undefined ? code(label) : `${code(label)}: ${values.join(", ")}`;

const code = (text: string): string => `\`${text}\``;

function table(head: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)];
}
