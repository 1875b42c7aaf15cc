import { useEffect, useMemo, useState } from "preact/hooks";
import type { PageData, PageFinding } from "../report/page-data.ts";
import type { ReportedRule } from "../report/report.ts";
import { modeOf, selected } from "./select.ts";
import type { Change, State } from "./state.ts";
import { More } from "./summary.tsx";

interface FindingsProps {
  readonly data: PageData;
  readonly state: State;
  readonly change: Change;
}

/** So many findings are shown at once. */
const pageSize = 100;
const modes = ["deny", "warn", "audit", "accepted"] as const;

export function Findings({ data, state, change }: FindingsProps) {
  const found = useMemo(() => selected(data, state), [data, state]);
  const [shown, setShown] = useState(pageSize);
  useEffect(() => setShown(pageSize), [state]);
  const rules = useMemo(() => new Map(data.rules.map((rule) => [rule.id, rule])), [data]);
  const groups = [...Map.groupBy(found.slice(0, shown), ({ namespace }) => namespace)];
  return (
    <section aria-labelledby="list">
      <h2 id="list">Findings</h2>
      <Filters data={data} state={state} change={change} />
      <p role="status">
        {found.length.toLocaleString("en")} of {data.findings.length.toLocaleString("en")} findings
      </p>
      {groups.map(([namespace, findings]) => (
        <section key={namespace} aria-label={namespace === "" ? "cluster-scoped objects" : `namespace ${namespace}`}>
          <h3>{namespace === "" ? "Cluster-scoped objects" : `Namespace ${namespace}`}</h3>
          <ul class="findings">
            {findings.map((finding, i) => (
              <Finding key={`${finding.id} ${i}`} finding={finding} rule={rules.get(finding.rule)} />
            ))}
          </ul>
        </section>
      ))}
      <More shown={shown} total={found.length} what="findings" more={() => setShown(shown + pageSize)} />
    </section>
  );
}

function Filters({ data, state, change }: FindingsProps) {
  const namespaces = useMemo(
    () => [...new Set(data.findings.map(({ namespace }) => namespace))].filter(Boolean).sort(),
    [data],
  );
  const toggled = (mode: string) =>
    state.modes.includes(mode) ? state.modes.filter((one) => one !== mode) : [...state.modes, mode];
  return (
    <form class="filters" onSubmit={(event) => event.preventDefault()} role="search">
      <label>
        Search
        <input type="search" value={state.text} onInput={(event) => change({ text: event.currentTarget.value })} />
      </label>
      <label>
        Namespace
        <select value={state.namespace} onChange={(event) => change({ namespace: event.currentTarget.value })}>
          <option value="">all</option>
          {options(namespaces, state.namespace).map((name) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <label>
        Rule
        <select value={state.rule} onChange={(event) => change({ rule: event.currentTarget.value })}>
          <option value="">all</option>
          {options(
            data.rules.map(({ id }) => id),
            state.rule,
          ).map((id) => (
            <option key={id} value={id}>
              {id}
            </option>
          ))}
        </select>
      </label>
      <fieldset>
        <legend>Severity</legend>
        {modes.map((mode) => (
          <label key={mode}>
            <input
              type="checkbox"
              checked={state.modes.includes(mode)}
              onChange={() => change({ modes: toggled(mode) })}
            />
            {mode}
          </label>
        ))}
      </fieldset>
    </form>
  );
}

/** A value from the URL that the report does not have is shown all the same. */
const options = (known: readonly string[], chosen: string): readonly string[] =>
  chosen === "" || known.includes(chosen) ? known : [chosen, ...known];

function Finding({ finding, rule }: { finding: PageFinding; rule: ReportedRule | undefined }) {
  const [isOpen, setOpen] = useState(false);
  const { kind, namespace, name, message, path } = finding;
  const mode = modeOf(finding);
  return (
    <li>
      <details class={mode} open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>
          <span class={`badge ${mode}`}>{mode}</span>{" "}
          <strong>
            {kind} {kind === "Namespace" || namespace === "" ? name : `${namespace}/${name}`}
          </strong>
          {path === "" ? "" : " "}
          {path === "" ? null : <code>{path}</code>}
          <span class="message">{message}</span>
          <span class="rule">{finding.rule}</span>
        </summary>
        {isOpen && <Details finding={finding} rule={rule} />}
      </details>
    </li>
  );
}

function Details({ finding, rule }: { finding: PageFinding; rule: ReportedRule | undefined }) {
  const { place, lines, lowered, related, exception, fix, firstSeen } = finding;
  return (
    <div class="details">
      {place && <p class="place">{place}</p>}
      {lines && <Lines lines={lines} />}
      {lowered && <p>It is {lowered}.</p>}
      {exception && <Accepted exception={exception} />}
      <dl>
        <dt>Why</dt>
        <dd>{rule?.why}</dd>
        <dt>Fix</dt>
        <dd>{fix ?? rule?.fix}</dd>
        <dt>First seen</dt>
        <dd>{firstSeen === undefined ? "not known" : <time dateTime={firstSeen}>{firstSeen}</time>}</dd>
      </dl>
      {related && <Related objects={related} />}
      <RuleLink rule={rule} />
    </div>
  );
}

function Related({ objects }: { objects: readonly string[] }) {
  return (
    <dl>
      <dt>Related</dt>
      {objects.map((object) => (
        <dd key={object}>{object}</dd>
      ))}
    </dl>
  );
}

function Accepted({ exception }: { exception: NonNullable<PageFinding["exception"]> }) {
  const { namespace, name, owner, expiresAt, reason } = exception;
  return (
    <p>
      MeshwardException {namespace}/{name} of {owner} accepts it until {expiresAt}: {reason}
    </p>
  );
}

function RuleLink({ rule }: { rule: ReportedRule | undefined }) {
  if (rule === undefined || !isWebAddress(rule.docs)) return null;
  return (
    <p>
      <a href={rule.docs} rel="noreferrer noopener">
        More about {rule.id}
      </a>
    </p>
  );
}

/** The base of the addresses comes from an option, and no other scheme may be followed. */
const isWebAddress = (text: string): boolean => /^https?:\/\//i.test(text);

function Lines({ lines }: { lines: NonNullable<PageFinding["lines"]> }) {
  return (
    <pre class="lines" tabIndex={0} role="group" aria-label="Manifest">
      {lines.map(({ number, text, isMarked }) => (
        <span key={number} class={isMarked ? "line marked" : "line"}>
          <span class="number">{number}</span>
          {text}
          {"\n"}
        </span>
      ))}
    </pre>
  );
}
