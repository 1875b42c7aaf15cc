import { modesOf, type Rule } from "../engine/rule.ts";
import { namespaceKey } from "../kube/identity.ts";
import { member, type Path } from "../kube/read.ts";
import { formatPath } from "../kube/field-path.ts";
import { type DocumentKind, documentKinds, type Exception } from "../policy/documents.ts";
import { limitsIn, type Refusal, refusalsOf, writerRefusal } from "../policy/exception-limits.ts";
import { isWide } from "../policy/exception-states.ts";
import { isExpired } from "../policy/expiry.ts";
import { lossesOf } from "../policy/losses.ts";
import type { DefineRules } from "../policy/load.ts";
import type { Policies } from "../policy/policies.ts";
import { withDocument, withoutDocument } from "../policy/replace.ts";
import { counted } from "../text/phrases.ts";
import { printableLine } from "../text/printable.ts";
import type { Mesh } from "../view/view.ts";
import type { AdmissionRequest, Decision } from "./review.ts";

// Meshward reviews its own documents in the API server: an invalid one is denied, an exception that the policies do not allow
// is denied, and whoever changes a policy so that less is protected is warned.

export interface DocumentReview {
  readonly policies: Policies;
  readonly rules: readonly Rule[];
  readonly mesh: Mesh;
  readonly now: Date;
  /** Without it, a policy with customRules is denied. */
  readonly define?: DefineRules | undefined;
  /** The URL of the page about policies. */
  readonly page?: string | undefined;
}

export const isPolicyDocument = ({ kind, subResource }: AdmissionRequest): boolean =>
  subResource === "" && kind.group === documentKinds.MeshwardPolicy.group && kind.kind in documentKinds;

export function reviewDocument(request: AdmissionRequest, review: DocumentReview): Decision {
  const title = titleOf(request);
  if (request.operation === "UPDATE" && isSameSpec(request)) return allowed([]);
  if (request.operation === "DELETE")
    return allowed(
      warnings(request, lossesOf(review.policies, withoutDocument(review.policies, title), defaultsOf(review.rules))),
    );
  const raw = { ...request.object, metadata: identityOf(request) };
  const read = withDocument(review.policies, raw, review.rules, review.define);
  if ("problems" in read)
    return denied(
      request,
      "policy-document-invalid",
      read.problems.map(({ message }) => ({
        message,
        fix: "Correct the document; until then, its last valid version stays in force.",
      })),
      review.page,
    );
  if (read.exception === undefined)
    return allowed(warnings(request, lossesOf(review.policies, read.policies, defaultsOf(review.rules))));
  const refusals = exceptionRefusals(read.exception, request, review);
  if (refusals.length === 0) return allowed(isWide(read.exception) ? [`${title}: ${wide}`] : []);
  const shown = refusals.map(({ at, message, fix }) => ({ message: `${placeOf(at)}${message}`, fix }));
  return denied(request, "exception-not-allowed", shown, review.page);
}

const wide =
  "it accepts every finding of its rules in the namespace, also on objects that do not exist yet; limit it with spec.match";

function exceptionRefusals(
  exception: Exception,
  { user, namespace }: AdmissionRequest,
  { policies, mesh, now }: DocumentReview,
): readonly Refusal[] {
  const { labels = {} } = mesh.find("Namespace", namespaceKey(namespace))?.metadata ?? {};
  const limits = limitsIn({ namespace, namespaceLabels: labels }, policies.index);
  const byWriter = writerRefusal({ user: user.name, groups: user.groups }, limits);
  const past: Refusal = {
    at: ["spec", "expiresAt"],
    message: `the exception has ended already: ${exception.expiresAt}`,
    fix: "Set expiresAt to a time in the future.",
  };
  return [
    ...(byWriter === undefined ? [] : [byWriter]),
    ...(isExpired(exception, now) ? [past] : []),
    ...refusalsOf(exception.spec, limits, now),
  ];
}

const placeOf = (at: Path): string => (at.length === 0 ? "" : `${formatPath(at)}: `);

const defaultsOf = (rules: readonly Rule[]) =>
  rules.map((rule) => ({ id: rule.id, tags: rule.tags, mode: modesOf(rule) }));

const isSameSpec = ({ object, oldObject }: AdmissionRequest): boolean =>
  JSON.stringify(member(object, "spec")) === JSON.stringify(member(oldObject, "spec"));

const identityOf = (request: AdmissionRequest) => {
  const name = nameOf(request);
  const { kind, namespace } = request;
  return documentKinds[kind.kind as DocumentKind].namespaced ? { name, namespace } : { name };
};
function titleOf(request: AdmissionRequest): string {
  const { kind, namespace } = request;
  return `${kind.kind} ${namespace === "" ? nameOf(request) : `${namespace}/${nameOf(request)}`}`;
}
/** With generateName, the name is not known yet. */
const nameOf = ({ name, object }: AdmissionRequest): string =>
  name === "" ? `${String(member(member(object, "metadata"), "generateName"))}*` : name;

/** The response contains ten warnings. */
const mostNamed = 8;
function warnings(request: AdmissionRequest, lost: readonly string[]): readonly string[] {
  const shown = lost.slice(0, mostNamed).map((loss) => `${titleOf(request)}: this protects less than before: ${loss}`);
  const more = lost.length - shown.length;
  return more > 0 ? [...shown, `${titleOf(request)}: and ${counted(more, "other loss")}`] : shown;
}

const allowed = (texts: readonly string[]): Decision => {
  const outcome = texts.length > 0 ? "warn" : "allow";
  return { allowed: true, warnings: texts, auditAnnotations: { decision: outcome }, rules: [], outcome };
};

const participle = { CREATE: "created", UPDATE: "changed", DELETE: "deleted" } as const;
const longestLine = 600;
const mostShown = 10;

function denied(
  request: AdmissionRequest,
  rule: string,
  problems: readonly { readonly message: string; readonly fix: string }[],
  page: string | undefined,
): Decision {
  const shown = problems.slice(0, mostShown);
  const message = [
    `${printableLine(titleOf(request), 100)} cannot be ${participle[request.operation]}: ${counted(problems.length, "problem")}`,
    ...shown.flatMap(({ message, fix }, i) => [
      `- [${rule}] ${printableLine(message, longestLine)}`,
      ...(problems[i + 1]?.fix === fix && i + 1 < shown.length ? [] : [`  Fix: ${printableLine(fix, longestLine)}`]),
    ]),
    ...(problems.length > shown.length ? [`…and ${counted(problems.length - shown.length, "more problem")}`] : []),
    ...(page === undefined ? [] : [`More: ${page}`]),
  ].join("\n");
  return {
    allowed: false,
    message,
    warnings: [],
    auditAnnotations: { decision: "deny", rules: rule },
    rules: [rule],
    outcome: "deny",
  };
}
