import type { Finding } from "../engine/finding.ts";
import type { Rule } from "../engine/rule.ts";
import { type RuleSetting, selectionOf } from "../engine/setting.ts";
import { formatPath } from "../kube/field-path.ts";
import { identityOf, idOf, keyOf } from "../kube/identity.ts";
import type { AnyObject } from "../kube/object.ts";
import { type Intent, isAbout, isClusterWide } from "../mesh/intents/intents.ts";
import { intentOfTopic } from "../mesh/intents/wording.ts";
import type { Condition } from "./conditions.ts";
import type { AuditOutcome, Turn } from "./background-audit.ts";

/** What an audit knows of one intent of the cluster, as its condition `Held` says it. */
export interface IntentState extends Pick<Condition, "status" | "message"> {
  /** As it was audited. */
  readonly intent: Intent;
  /**
   * - `Held`: every entry holds.
   * - `NotHeld`: an entry does not hold; the message has a request that shows it.
   * - `Undecided`: no entry is known not to hold, and of one it cannot be decided.
   * - `Invalid`: the intent contradicts itself, or has an entry that means nothing.
   * - `NotAudited`: the policies turn the rule intent-not-held off, or it failed.
   */
  readonly reason: "Held" | "NotHeld" | "Undecided" | "Invalid" | "NotAudited";
}

/** The rules whose findings say it. */
export interface IntentRules {
  readonly invalid: Rule;
  readonly notHeld: Rule;
}

type Audited = Pick<AuditOutcome, "rulings" | "errors" | "skipped" | "mesh" | "policies" | "atMs">;

/** Of the intents of the cluster, by their keys. Intents in files have no status. */
export async function intentStates(
  outcome: Audited,
  rules: IntentRules,
  turn: Turn,
): Promise<ReadonlyMap<string, IntentState>> {
  const intents = [...outcome.mesh.all("MeshwardIntent")].filter(({ metadata }) => metadata.uid !== undefined);
  const states = new Map<string, IntentState>();
  if (intents.length === 0) return states;
  const found = await Found.in(outcome, rules, turn);
  for (const [i, intent] of intents.entries()) {
    states.set(keyOf(intent), { intent, ...found.stateOf(intent) });
    if (i % intentsPerTurn === intentsPerTurn - 1) await turn();
  }
  return states;
}
const intentsPerTurn = 100;

type State = Omit<IntentState, "intent">;

/** What an audit found, by the identity of the intent. */
class Found {
  readonly #invalid: ReadonlyMap<string, readonly Finding[]>;
  readonly #broken: ReadonlyMap<string, readonly Finding[]>;
  readonly #undecided: ReadonlyMap<string, readonly Finding[]>;
  /** Subjects for which intent-not-held was not evaluated, with the reason. */
  readonly #left: ReadonlyMap<AnyObject, string>;
  /** Why the rule was not evaluated at all. */
  readonly #skipped: string | undefined;
  readonly #rootSettings: AuditOutcome["mesh"]["settings"];

  private constructor(
    { rulings, skipped, mesh }: Audited,
    { invalid, notHeld }: IntentRules,
    left: ReadonlyMap<AnyObject, string>,
  ) {
    const findings = rulings.map(({ finding }) => finding);
    const of = (rule: Rule) => findings.filter((finding) => finding.rule.id === rule.id);
    const isDecided = ({ onlyWarns }: Finding): boolean => onlyWarns === undefined;
    const judged = of(notHeld);
    this.#invalid = byIntent(of(invalid).filter(isDecided));
    this.#broken = byIntent(judged.filter(isDecided));
    this.#undecided = byIntent(judged.filter((finding) => !isDecided(finding)));
    this.#left = left;
    const skip = skipped.find(({ rule }) => rule === notHeld);
    this.#skipped = skip && `The audit knows no ${skip.unknown}`;
    this.#rootSettings = mesh.settings;
  }

  static async in(outcome: Audited, rules: IntentRules, turn: Turn): Promise<Found> {
    const { mesh, policies, atMs, errors } = outcome;
    const settings = selectionOf(policies, undefined, new Date(atMs)).between(mesh, mesh);
    const left = new Map<AnyObject, string>();
    let count = 0;
    for (const kind of ["MeshwardIntent", "Namespace"] as const)
      for (const subject of mesh.all(kind)) {
        const setting = settings.of(rules.notHeld, subject);
        if (setting.mode === "off") left.set(subject, isOff(setting));
        if (++count % intentsPerTurn === 0) await turn();
      }
    for (const { rule, subject } of errors)
      if (rule === rules.notHeld) left.set(subject, "The rule intent-not-held failed; the log of Meshward says why");
    return new Found(outcome, rules, left);
  }

  stateOf(intent: Intent): State {
    const of = (all: ReadonlyMap<string, readonly Finding[]>) => all.get(identityOf(intent)) ?? [];
    const [invalid, broken, undecided] = [of(this.#invalid), of(this.#broken), of(this.#undecided)];
    if (intent.malformed !== undefined || intent.spec.requests.length === 0)
      return { status: "False", reason: "Invalid", message: "A field is missing, or has a value of the wrong type." };
    if (invalid.length > 0) return { status: "False", reason: "Invalid", message: messageOf(invalid) };
    if (broken.length > 0) return { status: "False", reason: "NotHeld", message: messageOf(broken) };
    const left = this.#skipped ?? this.#leftOf(intent);
    if (left !== undefined) return { status: "Unknown", reason: "NotAudited", message: `${left}.` };
    if (undecided.length > 0) return { status: "Unknown", reason: "Undecided", message: messageOf(undecided) };
    return { status: "True", reason: "Held", message: "Every entry holds." };
  }

  /** Why not everything that the intent is about was evaluated. */
  #leftOf(intent: Intent): string | undefined {
    if (!isClusterWide(intent, this.#rootSettings)) return this.#left.get(intent);
    for (const [subject, why] of this.#left)
      if (subject.kind === "Namespace" && isAbout(intent, subject) !== false) return `${idOf(subject)}: ${why}`;
    return undefined;
  }
}

const isOff = ({ policy }: RuleSetting): string => `${policy} turns the rule intent-not-held off`;

/** Findings about a Namespace are those of an intent of the root namespace, which their topic names. */
const byIntent = (findings: readonly Finding[]): ReadonlyMap<string, readonly Finding[]> =>
  Map.groupBy(findings, ({ subject, topic }) =>
    subject.kind === "MeshwardIntent" ? identityOf(subject) : (intentOfTopic(topic) ?? ""),
  );

const mostNamed = 3;
const mostCharacters = 2_000;

function messageOf(findings: readonly Finding[]): string {
  const named = findings.slice(0, mostNamed).map(({ subject, at, message }) => {
    const place = subject.kind === "Namespace" ? idOf(subject) : formatPath(at);
    return `${place}: ${message}.`;
  });
  const more = findings.length > named.length ? ` (and ${findings.length - named.length} more)` : "";
  const text = named.join(" ");
  return `${text.length > mostCharacters ? `${text.slice(0, mostCharacters)}...` : text}${more}`;
}
