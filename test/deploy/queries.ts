import { parser } from "@prometheus-io/lezer-promql";
import { metricsTable } from "../../src/telemetry/metric-table.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";

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
  const reading = new Reading(exposed);
  parser.parse(text).iterate({
    enter({ name, type, from, to }) {
      const word = text.slice(from, to);
      if (type.isError) reading.faults.push(`syntax error at ${from}: ${text.slice(from, from + 20)}`);
      else reading.read(name, word);
    },
  });
  return [...reading.faults, ...reading.groupingFaults()];
}

/** Reads the nodes of a query in their order. */
class Reading {
  readonly faults: string[] = [];
  readonly #exposed: ReadonlyMap<string, Exposed>;
  readonly #known = new Set<string>();
  readonly #grouping: string[] = [];
  #metric: Exposed | undefined;
  #isGrouping = false;
  #label = "";

  constructor(exposed: ReadonlyMap<string, Exposed>) {
    this.#exposed = exposed;
  }

  read(node: string, word: string): void {
    if (node === "VectorSelector") this.#isGrouping = false;
    if (node === "GroupingLabels") this.#isGrouping = true;
    if (node === "Identifier") this.#readMetric(word);
    if (node === "LabelName") this.#readLabel(word);
    if (node === "StringLiteral") this.faults.push(...valueFaults(this.#metric?.values[this.#label], word));
  }

  groupingFaults(): readonly string[] {
    const unknown = this.#grouping.filter((label) => !this.#known.has(label));
    return unknown.map((label) => `no metric of the query has the label ${label}`);
  }

  #readMetric(name: string): void {
    this.#metric = this.#exposed.get(name);
    if (this.#metric === undefined) this.faults.push(`no metric ${name}`);
    for (const label of this.#metric?.labels ?? []) this.#known.add(label);
  }

  #readLabel(label: string): void {
    if (this.#isGrouping) {
      this.#grouping.push(label);
      return;
    }
    this.#label = label;
    if (this.#metric?.labels.has(label) === false) this.faults.push(`the metric has no label ${label}`);
  }
}

/** Of a regular expression, each alternative is a value. */
function valueFaults(values: readonly string[] | undefined, literal: string): readonly string[] {
  if (values === undefined) return [];
  const wanted = literal.slice(1, -1).split("|");
  return wanted.filter((value) => !values.includes(value)).map((value) => `the label never has the value ${value}`);
}
