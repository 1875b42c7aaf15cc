export interface AuditFindingLabels {
  readonly rule: string;
  readonly mode: string;
  /** Empty for cluster-scoped objects. */
  readonly namespace: string;
}

/** The number of time series of findings; with more, the last namespaces by name share the label `_other`. */
const mostFindingSeries = 2_000;

type FindingLabels = Record<keyof AuditFindingLabels, string>;

/** The number of findings for each combination of labels, of which there is a limited number. */
export function countedFindings(findings: Iterable<AuditFindingLabels>): readonly (readonly [FindingLabels, number])[] {
  const all = countedBy(findings, ({ namespace }) => namespace);
  const shown = new Set<string>();
  let series = 0;
  for (const [{ namespace }] of [...all.values()].sort(([a], [b]) => (a.namespace < b.namespace ? -1 : 1)))
    if (++series <= mostFindingSeries) shown.add(namespace);
  if (series <= mostFindingSeries) return [...all.values()];
  return [...countedBy(findings, ({ namespace }) => (shown.has(namespace) ? namespace : "_other")).values()];
}

function countedBy(
  findings: Iterable<AuditFindingLabels>,
  namespaceOf: (labels: AuditFindingLabels) => string,
): ReadonlyMap<string, readonly [FindingLabels, number]> {
  const counts = new Map<string, [FindingLabels, number]>();
  for (const labels of findings) {
    const { rule, mode } = labels;
    const namespace = namespaceOf(labels);
    const key = `${rule} ${mode} ${namespace}`;
    const known = counts.get(key);
    if (known === undefined) counts.set(key, [{ rule, mode, namespace }, 1]);
    else known[1]++;
  }
  return counts;
}
