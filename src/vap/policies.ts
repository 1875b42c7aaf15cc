import type { KubernetesObject } from "../deploy/object.ts";
import { defaultsOf, type Mode, modesOf, type Rule } from "../engine/rule.ts";
import { breakGlassAnnotation } from "../kube/meshward-metadata.ts";
import { filledParameters, type Exception, type PolicyDocument } from "../policy/documents.ts";
import { endOf, isExpired } from "../policy/expiry.ts";
import { compileMatch } from "../policy/match.ts";
import type { Policies } from "../policy/policies.ts";
import type { RuleEntry } from "../policy/scopes.ts";
import { anyOf, celConstant, celText } from "./cel-text.ts";
import { conditionOf, isAccepted, isBreakingGlass, isProtected, type Subject } from "./conditions.ts";
import { type Form, formOf } from "./forms.ts";

export interface ExportOptions {
  readonly rules: readonly Rule[];
  readonly policies: Policies;
  /** Istio's root namespace. */
  readonly rootNamespace: string;
  /** The revisions of the control planes. */
  readonly revisions: readonly string[];
  /** The DNS domain of the cluster's services. */
  readonly domain: string;
  readonly now: Date;
}

export interface Exported {
  readonly objects: readonly KubernetesObject[];
  /** The rules that are exported, and what they also find in the form in CEL. */
  readonly exported: readonly ExportedRule[];
  /** The rules that cannot be exported, and why. */
  readonly left: readonly { readonly rule: string; readonly because: string }[];
  /** When the first of the exceptions in it ends, after which it has to be exported again. */
  readonly until: string | undefined;
}

export interface ExportedRule {
  readonly rule: string;
  readonly modes: readonly Mode[];
  readonly stricter: string | undefined;
}

/**
 * The rules that one object decides alone as ValidatingAdmissionPolicies, with the modes, parameters and exceptions of the
 * policies in force, so that they hold while Meshward is unavailable. What cannot be translated exactly is left out, with the
 * reason, unless it only finds more, which is said too.
 */
export function admissionPolicies(options: ExportOptions): Exported {
  const objects: KubernetesObject[] = [];
  const exported: ExportedRule[] = [];
  const left: { rule: string; because: string }[] = [];
  const ends: number[] = [];
  for (const rule of options.rules) {
    const found = exportOf(rule, options);
    if (typeof found === "string") left.push({ rule: rule.id, because: found });
    else {
      objects.push(...found.objects);
      exported.push({ rule: rule.id, modes: found.modes, stricter: found.stricter });
      ends.push(...found.exceptions.map(({ expiresAt }) => endOf(expiresAt)));
    }
  }
  const until = ends.length === 0 ? undefined : new Date(Math.min(...ends)).toISOString();
  return { objects, exported, left, until };
}

interface RuleExport {
  readonly objects: readonly KubernetesObject[];
  readonly modes: readonly Mode[];
  readonly stricter: string | undefined;
  readonly exceptions: readonly Exception[];
}

function exportOf(rule: Rule, options: ExportOptions): RuleExport | string {
  const { policies } = options;
  const definedIn = policies.documents.find(({ title }) => title === rule.definedBy);
  const spec = definedIn?.spec.customRules?.find(({ id }) => `${definedIn.name}/${id}` === rule.id);
  const form = formOf(rule, spec);
  if (typeof form === "string") return form;
  const entries = policies.entriesFor(rule);
  const untranslatable = reasonAgainst(rule, entries);
  if (untranslatable !== undefined) return untranslatable;
  const exceptions = exceptionsFor(rule, options);
  if (typeof exceptions === "string") return exceptions;
  const draft: Draft = { rule, form, entries, definedIn, exceptions, options };
  const modes = possibleModes(draft);
  if (modes.length === 0) return "its mode is off";
  return { objects: modes.flatMap((mode) => objectsFor(draft, mode)), modes, stricter: form.stricter, exceptions };
}

interface Draft {
  readonly rule: Rule;
  readonly form: Form;
  /** The settings of documents, strongest first. */
  readonly entries: readonly RuleEntry[];
  readonly definedIn: PolicyDocument | undefined;
  readonly exceptions: readonly Exception[];
  readonly options: ExportOptions;
}

function reasonAgainst(rule: Rule, entries: readonly RuleEntry[]): string | undefined {
  const withParameters = entries.find(
    ({ value, scope }) => value.parameters !== undefined && scope.match.specificity > 0,
  );
  if (withParameters !== undefined) return `${withParameters.title} sets its parameters for some objects only`;
  const newer = entries.find(({ pin }) => pin !== undefined);
  if (
    newer !== undefined &&
    rule.definedBy === undefined &&
    newer.pin !== undefined &&
    rule.since > newer.pin.version.join(".")
  )
    return `${newer.pin.title} is older than the rule`;
  return undefined;
}

function exceptionsFor(rule: Rule, { policies, now }: ExportOptions): readonly Exception[] | string {
  const found = policies.exceptions.filter(
    ({ spec, expiresAt }) => spec.rules.includes(rule.id) && !isExpired({ expiresAt }, now),
  );
  const single = found.find(({ spec }) => spec.match?.fingerprints !== undefined);
  if (single !== undefined) return `${single.title} accepts single findings, which CEL cannot tell from others`;
  const limits = policies.documents.find(({ spec }) => spec.exceptions !== undefined);
  if (found.length > 0 && limits !== undefined)
    return `${limits.title} limits exceptions, of which ${found[0]?.title} is one`;
  return found;
}

/** The modes that a finding can have, as far as something happens. */
function possibleModes({ rule, entries }: Draft): readonly Exclude<Mode, "off">[] {
  const { protected: inside, elsewhere } = modesOf(rule);
  const set = new Set<Mode>([inside, elsewhere, ...entries.flatMap(({ value }) => value.mode ?? [])]);
  // What was there before a change, a rollback and break glass only warn.
  if (set.has("deny")) set.add("warn");
  if (rule.stage === "trial") set.delete("deny");
  return (["deny", "warn", "audit"] as const).filter((mode) => set.has(mode));
}

const actions = { deny: "Deny", warn: "Warn", audit: "Audit" } as const;

function objectsFor(draft: Draft, mode: Exclude<Mode, "off">): readonly KubernetesObject[] {
  const { rule, form } = draft;
  const name = `meshward.${rule.id.replace("/", ".")}.${mode}`;
  const labels = { "app.kubernetes.io/name": "meshward" };
  const text = `[${rule.id}] ${rule.summary} ${rule.fix}`;
  const policy: KubernetesObject = {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingAdmissionPolicy",
    metadata: { name, labels, annotations: { "meshward.io/rule": rule.id } },
    spec: {
      failurePolicy: mode === "deny" && !isLenient(draft) ? "Fail" : "Ignore",
      matchConstraints: { resourceRules: resourceRules(draft) },
      matchConditions: [
        // The last step of a deletion completes what was decided when it was requested.
        {
          name: "not-deleted",
          expression:
            "!has(object.metadata.deletionTimestamp) || oldObject == null || !has(oldObject.metadata.deletionTimestamp)",
        },
        ...(isOfWorkloads(form) ? [{ name: "not-by-istiod", expression: notByIstiod(draft) }] : []),
      ],
      variables: variablesOf(draft),
      validations: [
        {
          expression: validationFor(mode),
          message: text.slice(0, 1_000),
          ...(form.messageExpression === undefined
            ? {}
            : { messageExpression: `${celText(`[${rule.id}] `)} + ${form.messageExpression}` }),
        },
      ],
    },
  };
  const binding: KubernetesObject = {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingAdmissionPolicyBinding",
    metadata: { name, labels },
    spec: { policyName: name, validationActions: [actions[mode]] },
  };
  return [policy, binding];
}

const isOfWorkloads = ({ served }: Form): boolean => served.some(({ group }) => ["apps", "batch"].includes(group));
/** istiod creates the proxies of Gateways. */
const notByIstiod = ({ options: { rootNamespace } }: Draft): string =>
  `!request.userInfo.username.matches(${celText(`^system:serviceaccount:${rootNamespace}:istiod(-.+)?$`)})`;

/** Whether an error of the rule only warns, wherever it applies. */
const isLenient = ({ entries }: Draft): boolean =>
  entries.find(({ value }) => value.onError !== undefined)?.value.onError === "warn";

function resourceRules({ form }: Draft) {
  const operations = form.before === undefined ? ["UPDATE"] : ["CREATE", "UPDATE"];
  return form.served.map(({ group, versions, plural }) => ({
    apiGroups: [group],
    apiVersions: [...versions],
    resources: [plural],
    operations,
  }));
}

/** The value that the strongest entry sets; each entry applies where its match does. */
function cascade(
  entries: readonly RuleEntry[],
  read: (entry: RuleEntry) => string | undefined,
  { subject, otherwise }: { readonly subject: Subject; readonly otherwise: string },
): string {
  return entries
    .filter((entry) => read(entry) !== undefined)
    .reduceRight((rest, entry) => {
      const condition = conditionOf(entry.scope.match.spec, subject);
      const value = celText(read(entry) as string);
      return condition === "true" ? value : `(${condition}) ? ${value} : ${rest === otherwise ? rest : `(${rest})`}`;
    }, otherwise);
}

function modeFor({ rule, entries, definedIn, options }: Draft, subject: Subject): string {
  const { protected: inside, elsewhere } = modesOf(rule);
  const own =
    inside === elsewhere
      ? celText(inside)
      : `(${isProtected(options.policies.documents, subject)}) ? ${celText(inside)} : ${celText(elsewhere)}`;
  const set = cascade(entries, ({ value }) => value.mode, {
    subject,
    otherwise: inside === elsewhere ? own : `(${own})`,
  });
  const limited =
    inside !== elsewhere && elsewhere === "off"
      ? `(${isProtected(options.policies.documents, subject)}) ? (${set}) : 'off'`
      : set;
  if (definedIn === undefined) return limited;
  const where = anyOf(compileMatch(definedIn.spec.match).map(({ spec }) => conditionOf(spec, subject)));
  return where === "(true)" ? limited : `(${where}) ? (${limited}) : 'off'`;
}

function variablesOf(draft: Draft) {
  const { rule, form, entries, exceptions, options } = draft;
  const { policies, rootNamespace, revisions, domain } = options;
  const isNamespace = rule.subject.includes("Namespace");
  const now: Subject = { object: "object", isNamespace };
  const set = entries.toReversed().map(({ value }) => value.parameters ?? {});
  const filled = { protectedLabels: policies.protectedSelectors.map(written) };
  const parameters = Object.entries({ ...defaultsOf(rule), ...Object.assign({}, ...set) } as Record<string, unknown>)
    .filter(([name]) => !filledParameters.has(name))
    .concat("protectedLabels" in rule.parameters ? [["protectedLabels", filled.protectedLabels]] : []);
  const after = modeFor(draft, now);
  const before = modeFor(draft, { object: "oldObject", isNamespace });
  return [
    { name: "params", expression: celConstant(Object.fromEntries(parameters)) },
    { name: "settings", expression: celConstant({ rootNamespace, revisions, domain }) },
    { name: "modeAfter", expression: after },
    {
      name: "modeBefore",
      // Adding or removing a label in the same change does not weaken anything.
      expression: before === after ? "variables.modeAfter" : `oldObject == null ? variables.modeAfter : (${before})`,
    },
    {
      name: "mode",
      expression:
        "['deny', 'warn', 'audit', 'off'].filter(m, m == variables.modeAfter || m == variables.modeBefore)[0]",
    },
    {
      name: "existing",
      expression: cascade(entries, ({ value }) => value.existing, { subject: now, otherwise: "'warn'" }),
    },
    { name: "isAccepted", expression: isAccepted(exceptions, now) },
    { name: "isBreakingGlass", expression: isBreakingGlass(policies.documents, breakGlassAnnotation.key) },
    { name: "problems", expression: form.now },
    {
      name: "problemsBefore",
      expression: form.before === undefined ? "[]" : `oldObject == null ? [] : (${form.before})`,
    },
    {
      name: "denied",
      expression: `variables.mode != 'deny' || variables.isBreakingGlass${rule.stage === "trial" ? " || true" : ""} ? [] : variables.problems.filter(problem, (variables.existing == 'deny' || variables.problems.filter(p, p == problem).size() > variables.problemsBefore.filter(p, p == problem).size()) && !(${form.isRollback}))`,
    },
  ];
}

const written = (selector: Readonly<Record<string, string>>): string =>
  Object.entries(selector)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");

/** True for a request to which nothing happens by this mode. */
function validationFor(mode: Exclude<Mode, "off">): string {
  if (mode === "deny") return "variables.isAccepted || variables.denied.size() == 0";
  if (mode === "audit") return "variables.isAccepted || variables.mode != 'audit' || variables.problems.size() == 0";
  // What is denied is said by the denial.
  return "variables.isAccepted || !(variables.mode in ['deny', 'warn']) || variables.problems.size() == variables.denied.size()";
}
