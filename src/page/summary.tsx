import { useState } from "preact/hooks";
import type { PictureNamespace } from "../report/mesh-picture.ts";
import type { PageData } from "../report/page-data.ts";
import { type Counts, noCounts } from "./select.ts";
import type { Change } from "./state.ts";

interface SummaryProps {
  readonly data: PageData;
  readonly counts: ReadonlyMap<string, Counts>;
  readonly change: Change;
}

/** So many rows of a table are shown at once. */
const pageSize = 200;

export function Summary({ data, counts, change }: SummaryProps) {
  const { deny, warn, audit } = data.summary;
  const accepted = data.findings.filter(({ exception }) => exception !== undefined).length;
  return (
    <>
      <section aria-labelledby="numbers">
        <h2 id="numbers">Findings</h2>
        <ul class="tiles">
          <Tile mode="deny" count={deny} text="would be denied" change={change} />
          <Tile mode="warn" count={warn} text="warnings" change={change} />
          <Tile mode="audit" count={audit} text="only recorded" change={change} />
          <Tile mode="accepted" count={accepted} text="accepted by exceptions" change={change} />
        </ul>
      </section>
      {data.mesh && <Posture namespaces={data.mesh.namespaces} counts={counts} change={change} />}
      <Rules data={data} change={change} />
      <NotAsked data={data} />
    </>
  );
}

function Tile({ mode, count, text, change }: { mode: string; count: number; text: string; change: Change }) {
  return (
    <li>
      <button
        type="button"
        class={`tile ${mode}`}
        onClick={() => change({ view: "findings", modes: [mode], namespace: "", rule: "", text: "" })}
      >
        <strong>{count.toLocaleString("en")}</strong> {text}
      </button>
    </li>
  );
}

function Posture({
  namespaces,
  counts,
  change,
}: {
  namespaces: readonly PictureNamespace[];
  counts: SummaryProps["counts"];
  change: Change;
}) {
  const [shown, setShown] = useState(pageSize);
  const of = (name: string) => counts.get(name) ?? noCounts;
  const sorted = namespaces.toSorted(
    (a, b) => of(b.name).deny - of(a.name).deny || of(b.name).warn - of(a.name).warn || (a.name < b.name ? -1 : 1),
  );
  const inMesh = namespaces.filter(({ dataPlane }) => dataPlane !== "none");
  const facts = [
    [inMesh.length, "in the mesh"],
    [inMesh.filter(({ mtls }) => mtls === "STRICT").length, "STRICT"],
    [inMesh.filter(({ defaultDeny }) => defaultDeny === "all").length, "deny by default"],
    [namespaces.filter(({ waypoint }) => waypoint !== null).length, "with a waypoint"],
    [namespaces.filter(({ isProtected }) => isProtected).length, "protected"],
  ] as const;
  return (
    <section aria-labelledby="posture">
      <h2 id="posture">Namespaces</h2>
      <p>
        {namespaces.length} namespaces: {facts.map(([count, text]) => `${count} ${text}`).join(", ")}.
      </p>
      <div class="scroll" tabIndex={0} role="group" aria-label="Table of namespaces">
        <table>
          <thead>
            <tr>
              {[
                "Namespace",
                "Deny",
                "Warn",
                "mTLS",
                "Default deny",
                "Data plane",
                "Waypoint",
                "Protected",
                "Workloads",
              ].map((title) => (
                <th scope="col" key={title}>
                  {title}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {sorted.slice(0, shown).map((namespace) => (
              <PostureRow key={namespace.name} namespace={namespace} counts={of(namespace.name)} change={change} />
            ))}
          </tbody>
        </table>
      </div>
      <More shown={shown} total={sorted.length} what="namespaces" more={() => setShown(shown + pageSize)} />
    </section>
  );
}

function PostureRow({ namespace, counts, change }: { namespace: PictureNamespace; counts: Counts; change: Change }) {
  const { name, mtls, defaultDeny, dataPlane, waypoint, waypointTrouble, isProtected, workloads } = namespace;
  const isIn = dataPlane !== "none";
  const state = (isGood: boolean) => (isIn ? (isGood ? "good" : "bad") : "");
  return (
    <tr>
      <th scope="row">
        <button
          type="button"
          class="link"
          onClick={() => change({ view: "findings", namespace: name, rule: "", text: "" })}
        >
          {name}
        </button>
      </th>
      <td class={counts.deny > 0 ? "deny" : ""}>{counts.deny}</td>
      <td class={counts.warn > 0 ? "warn" : ""}>{counts.warn}</td>
      <td class={state(mtls === "STRICT")}>{mtls === "none" ? "–" : mtls}</td>
      <td class={state(defaultDeny === "all")}>
        {isIn ? { all: "yes", some: "in part", none: "no" }[defaultDeny] : "–"}
      </td>
      <td>{dataPlane === "none" ? "not in the mesh" : dataPlane}</td>
      <td class={waypointTrouble === null ? "" : "bad"}>
        {waypoint ?? "–"}
        {waypointTrouble === null ? "" : ` (${waypointTrouble})`}
      </td>
      <td>{isProtected ? "yes" : "no"}</td>
      <td>{workloads}</td>
    </tr>
  );
}

function Rules({ data, change }: { data: PageData; change: Change }) {
  const byRule = Map.groupBy(
    data.findings.filter(({ exception }) => exception === undefined),
    ({ rule }) => rule,
  );
  const rows = data.rules
    .map((rule) => ({ rule, count: byRule.get(rule.id)?.length ?? 0 }))
    .filter(({ count }) => count > 0)
    .sort((a, b) => b.count - a.count);
  if (rows.length === 0) return <p>No rule found anything.</p>;
  return (
    <section aria-labelledby="rules">
      <h2 id="rules">Rules</h2>
      <div class="scroll" tabIndex={0} role="group" aria-label="Table of rules">
        <table>
          <thead>
            <tr>
              <th scope="col">Rule</th>
              <th scope="col">Findings</th>
              <th scope="col">Meaning</th>
            </tr>
          </thead>
          <tbody>
            {rows.map(({ rule, count }) => (
              <tr key={rule.id}>
                <th scope="row" class="rule">
                  <button
                    type="button"
                    class="link"
                    onClick={() => change({ view: "findings", rule: rule.id, namespace: "", text: "" })}
                  >
                    {rule.id}
                  </button>
                </th>
                <td>{count}</td>
                <td>{rule.summary}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function NotAsked({ data }: { data: PageData }) {
  const { skipped, errors } = data;
  if (skipped.length === 0 && errors.length === 0) return null;
  const byReason = [...Map.groupBy(skipped, ({ reason }) => reason)];
  return (
    <section aria-labelledby="left">
      <h2 id="left">What was not checked</h2>
      <ul>
        {errors.map(({ file, message }) => (
          <li key={message}>
            {file === null ? "" : `${file}: `}
            {message}
          </li>
        ))}
        {byReason.map(([reason, rules]) => (
          <li key={reason}>
            {rules.map(({ rule }) => rule).join(", ")}: {reason}
          </li>
        ))}
      </ul>
    </section>
  );
}

export function More({ shown, total, what, more }: { shown: number; total: number; what: string; more: () => void }) {
  if (shown >= total) return null;
  return (
    <p>
      <button type="button" onClick={more}>
        Show more {what} ({(total - shown).toLocaleString("en")} are not shown)
      </button>
    </p>
  );
}
