import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { parse } from "yaml";
import { alerts } from "../../src/deploy/alerts.ts";
import { exposedMetrics, faultsIn } from "./queries.ts";

// What is installed is checked: the files, not only the code that writes them.

const root = join(import.meta.dirname, "../..");
const read = (file: string): string => readFileSync(join(root, file), "utf8");
const exposed = await exposedMetrics();

interface RuleFile {
  readonly groups: readonly { readonly rules: readonly Rule[] }[];
}
interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly runbook_url: string };
}
const rules = (parse(read("deploy/monitoring/alerts.yaml")) as RuleFile).groups.flatMap((group) => group.rules);
interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
}
const { panels } = JSON.parse(read("deploy/monitoring/dashboard.json")) as { panels: readonly Panel[] };
const queries = panels.flatMap(({ title, targets = [] }) => targets.map((target) => ({ title, ...target })));

describe("queries", () => {
  const wrong: readonly [string, RegExp][] = [
    ["sum(rate(meshward_shed_total[5m])", /syntax error/],
    ["meshward_sheds_total", /no metric meshward_sheds_total/],
    ["meshward_admission_duration_seconds", /no metric/],
    ['meshward_policies{status="kept"}', /no label status/],
    ['meshward_policies{state="keep"}', /never has the value keep/],
    ['meshward_live_reads_total{result=~"late|lost"}', /never has the value lost/],
    ["sum by (reason) (meshward_policies)", /no metric of the query has the label reason/],
    ["sum by (le) (rate(meshward_admission_duration_seconds_count[5m]))", /has the label le/],
  ];
  for (const [query, fault] of wrong)
    test(`${query} is found to be wrong`, () => {
      assert.match(faultsIn(query, exposed).join("\n"), fault);
    });

  test("every query of the dashboard uses metrics, labels and values that exist", () => {
    assert.ok(queries.length > 30);
    for (const { title, expr } of queries) assert.deepEqual(faultsIn(expr, exposed), [], `${title}: ${expr}`);
  });

  test("every query of the alerts does", () => {
    assert.equal(rules.length, alerts.length);
    for (const { alert, expr } of rules) assert.deepEqual(faultsIn(expr, exposed), [], `${alert}: ${expr}`);
  });

  test("texts name labels that the result of their query has", () => {
    const texts = [
      ...queries.map(({ expr, legendFormat }) => [expr, legendFormat, /\{\{(\w+)\}\}/g] as const),
      ...rules.map(({ expr, annotations }) => [expr, annotations.summary, /\{\{ \$labels\.(\w+)/g] as const),
    ];
    let named = 0;
    for (const [expr, text, pattern] of texts)
      for (const [, label = ""] of text.matchAll(pattern)) {
        named++;
        const groups = [...expr.matchAll(/ by \(([^)]*)\)/g)].flatMap(([, list = ""]) => list.split(/, */));
        assert.ok(groups.includes(label) || (groups.length === 0 && label === "instance"), `${label} in ${expr}`);
      }
    assert.ok(named > 20);
  });
});

test("every alert has a section of its own on the page that its link names", () => {
  const page = read("docs/alerts.md");
  const sections = new Set([...page.matchAll(/^## (\w+)$/gm)].map(([, name = ""]) => name.toLowerCase()));
  assert.equal(sections.size, rules.length);
  for (const { alert, annotations, labels } of rules) {
    const { pathname, hash } = new URL(annotations.runbook_url);
    assert.match(pathname, /\/docs\/alerts\.md$/);
    assert.ok(sections.has(hash.slice(1)), annotations.runbook_url);
    assert.equal(hash, `#${alert.toLowerCase()}`);
    assert.match(labels.severity, /^(critical|warning|info)$/);
    assert.match(annotations.summary, /^[A-Z].*\.$/);
  }
});

test("no two panels of the dashboard overlap, and every id is unique", () => {
  assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
  const cells = new Set<string>();
  for (const { gridPos, title } of panels)
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        assert.ok(x < 24 && !cells.has(`${x} ${y}`), title);
        cells.add(`${x} ${y}`);
      }
});
