import { parser } from "@prometheus-io/lezer-promql";
import { createMetrics, metricsTable } from "../../src/telemetry/metrics.ts";

/** The labels of a metric, and the values of those whose values are known. */
interface Exposed {
  readonly labels: ReadonlySet<string>;
  readonly values: Readonly<Record<string, readonly string[]>>;
}

/** Labels that Prometheus adds when it scrapes. */
const scraped = ["instance", "job", "namespace", "pod"];

/** Metrics of the API server that queries may use (k8s.io/apiserver pkg/admission/metrics/metrics.go). */
const ofApiServer: Readonly<Record<string, readonly string[]>> = {
  apiserver_admission_webhook_rejection_count: ["name", "type", "operation", "error_type", "rejection_code"],
  apiserver_admission_webhook_fail_open_count: ["name", "type"],
};

/** Every series that Meshward and the API server expose, by its name in a query. */
export async function exposedMetrics(): Promise<ReadonlyMap<string, Exposed>> {
  const found = new Map<string, Exposed>();
  const add = (name: string, type: string, labels: readonly string[], values: Exposed["values"] = {}) => {
    const all = new Set([...labels, ...scraped]);
    if (type !== "histogram") found.set(name, { labels: all, values });
    else
      for (const suffix of ["_bucket", "_sum", "_count"])
        found.set(`${name}${suffix}`, { labels: suffix === "_bucket" ? new Set([...all, "le"]) : all, values });
  };
  for (const { name, type, labels, values } of metricsTable()) add(name, type, labels, values);
  const page = await createMetrics({ processMetrics: true }).text();
  for (const [, name = "", type = ""] of page.matchAll(/^# TYPE (\S+) (\S+)$/gm))
    if (!name.startsWith("meshward_")) add(name, type, []);
  for (const [name, labels] of Object.entries(ofApiServer)) add(name, "counter", labels);
  return found;
}

/** What is wrong with a query: syntax, metrics, labels and values that nothing exposes. */
export function faultsIn(query: string, exposed: ReadonlyMap<string, Exposed>): readonly string[] {
  const text = query.replaceAll("$__rate_interval", "5m");
  const faults: string[] = [];
  const known = new Set<string>();
  const grouping: string[] = [];
  let metric: Exposed | undefined;
  let isGrouping = false;
  let label = "";
  parser.parse(text).iterate({
    enter({ name, type, from, to }) {
      const word = text.slice(from, to);
      if (type.isError) faults.push(`syntax error at ${from}: ${text.slice(from, from + 20)}`);
      if (name === "VectorSelector") isGrouping = false;
      if (name === "GroupingLabels") isGrouping = true;
      if (name === "Identifier") {
        metric = exposed.get(word);
        if (metric === undefined) faults.push(`no metric ${word}`);
        for (const one of metric?.labels ?? []) known.add(one);
      }
      if (name === "LabelName" && isGrouping) grouping.push(word);
      if (name === "LabelName" && !isGrouping) {
        label = word;
        if (metric !== undefined && !metric.labels.has(word)) faults.push(`the metric has no label ${word}`);
      }
      if (name === "StringLiteral" && !isGrouping) faults.push(...valueFaults(metric?.values[label], word));
    },
  });
  for (const one of grouping) if (!known.has(one)) faults.push(`no metric of the query has the label ${one}`);
  return faults;
}

/** Of a regular expression, each alternative is a value. */
function valueFaults(values: readonly string[] | undefined, literal: string): readonly string[] {
  if (values === undefined) return [];
  const wanted = literal.slice(1, -1).split("|");
  return wanted.filter((value) => !values.includes(value)).map((value) => `the label never has the value ${value}`);
}
