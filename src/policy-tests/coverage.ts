import type { Ruling, StepName } from "../engine/ruling.ts";
import { namespaceOf } from "../engine/setting.ts";
import { identityOf, idOf, namespaceKey } from "../kube/identity.ts";
import { intentOfTopic } from "../mesh/intents/wording.ts";
import type { Mesh } from "../view/view.ts";
import type { PolicyDocument, PolicySpec, RuleOptions } from "../policy/documents.ts";
import type { Policies } from "../policy/policies.ts";
import { compileSelector, takenOver } from "../policy/scopes.ts";
import type { Covered } from "../report/test-report.ts";
import { globs } from "../text/globs.ts";
import type { CaseOutcome } from "./run-case.ts";

/**
 * Which settings of the policies, which exceptions, and which intents some case depended on. A setting that only turns a rule
 * off is left out, because nothing shows that it has an effect.
 */
export class Coverage {
  readonly #settings = new Map<string, Covered>();
  readonly #found = new Set<string>();

  /** Counts a case that ran with these policies. */
  add(policies: Policies, outcome: CaseOutcome): void {
    const { rulings } = outcome;
    for (const { finding } of rulings) this.#found.add(finding.rule.id);
    for (const document of policies.documents) {
      if (document.title.startsWith("profile ")) continue;
      for (const [setting, isCovered] of settingsOf(document, outcome))
        this.#count({ document: document.title, setting, isCovered });
    }
    const used = new Set(rulings.flatMap(({ exception }) => exception?.title ?? []));
    for (const { title } of policies.exceptions)
      this.#count({ document: title, setting: "", isCovered: used.has(title) });
    const judged = new Set(rulings.map(({ finding }) => intentOfTopic(finding.topic)));
    for (const intent of outcome.before.all("MeshwardIntent"))
      this.#count({ document: idOf(intent), setting: "", isCovered: judged.has(identityOf(intent)) });
  }

  #count(one: Covered): void {
    const key = JSON.stringify([one.document, one.setting]);
    const isCovered = one.isCovered || this.#settings.get(key)?.isCovered === true;
    this.#settings.set(key, { ...one, isCovered });
  }

  get settings(): readonly Covered[] {
    return [...this.#settings.values()];
  }

  /** The number of rules that found something. */
  get found(): number {
    return this.#found.size;
  }
}

type Setting = readonly [name: string, isCovered: boolean];

function settingsOf(
  { title, spec, customRules = [] }: PolicyDocument,
  { rulings, patchedBy, mesh }: CaseOutcome,
): readonly Setting[] {
  const isLoweredBy = (step: StepName) => rulings.some(({ lowered }) => lowered.some((one) => one.step === step));
  return [
    ...(spec.rules ?? [])
      .filter(({ mode }) => mode !== "off")
      .map((entry): Setting => [nameOf(entry), rulings.some((ruling) => isDecidedBy(ruling, entry, title))]),
    ...customRules.map(({ id }): Setting => [id, rulings.some(({ finding }) => finding.rule.id === id)]),
    ...given(
      spec,
      "protectedNamespaces",
      rulings.some((ruling) => isIn(ruling, spec.protectedNamespaces, mesh)),
    ),
    ...given(spec, "breakGlass", isLoweredBy("breakGlass")),
    ...given(spec, "reconcilers", isLoweredBy("reconciler")),
    ...given(
      spec,
      "hostOwners",
      rulings.some(({ finding }) => "hostOwners" in finding.rule.parameters),
    ),
    ...given(spec, "mutations", patchedBy.includes(title)),
  ];
}

const given = (spec: PolicySpec, field: keyof PolicySpec, isCovered: boolean): readonly Setting[] =>
  spec[field] === undefined ? [] : [[field, isCovered]];

const nameOf = ({ id, tag }: RuleOptions): string => id ?? `tag ${tag ?? ""}`;

/**
 * An entry without a mode does not decide it, and counts if the rule found something. One that another document takes over
 * counts where that one decides.
 */
const isDecidedBy = ({ finding: { rule, setting } }: Ruling, entry: RuleOptions, title: string): boolean =>
  (entry.mode === undefined || setting.policy === title || setting.policy.endsWith(takenOver("", title))) &&
  compileSelector(entry)(rule);

/** Whether a finding is about a namespace that the document protects, and counts only in protected ones. */
function isIn({ finding: { rule, subject } }: Ruling, where: PolicySpec["protectedNamespaces"], mesh: Mesh): boolean {
  if (where === undefined || typeof rule.mode === "string") return false;
  const { names = [], labels } = where;
  const namespace = namespaceOf(subject);
  const own = mesh.find("Namespace", namespaceKey(namespace))?.metadata.labels ?? {};
  const isLabelled = labels !== undefined && Object.entries(labels).every(([key, value]) => own[key] === value);
  return isLabelled || globs(names).matches(namespace);
}
