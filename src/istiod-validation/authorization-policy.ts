import type { Path } from "../kube/read.ts";
import { quoted } from "../text/printable.ts";
import { isAddressOrBlock } from "./addresses.ts";
import { countOf, type Fields, fieldsOf, isSet, itemsOf, type Refused, textOf, textsOf, type Written } from "./raw.ts";
import { refusedScope } from "./selectors.ts";

/** Istio pkg/config/validation/validation.go ValidateAuthorizationPolicy, pkg/config/security/security.go. */
export function* refuseAuthorizationPolicy({ spec }: Written): Refused {
  const action = textOf(spec["action"]) || "ALLOW";
  yield* refusedScope(spec);
  yield* refusedAction(spec, action);
  for (const { fields, at } of itemsOf(spec["rules"], ["spec", "rules"])) {
    for (const from of itemsOf(fields["from"], [...at, "from"])) yield* refusedSource(from.fields, from.at, action);
    for (const to of itemsOf(fields["to"], [...at, "to"])) yield* refusedOperation(to.fields, to.at);
    for (const when of itemsOf(fields["when"], [...at, "when"])) yield* refusedCondition(when.fields, when.at, action);
  }
}

function* refusedAction(spec: Fields, action: string): Refused {
  const isEmpty = countOf(spec["rules"]) === 0;
  if (isEmpty && (action === "DENY" || action === "CUSTOM"))
    yield {
      at: ["spec", "action"],
      message: `A policy with action ${action} and without rules never applies: the rule {} is for every request`,
    };
  if (action === "CUSTOM" && !isEmpty && textOf(fieldsOf(spec["provider"])["name"]) === "")
    yield { at: ["spec", "action"], message: "A policy with action CUSTOM needs the name of a provider" };
  if (action !== "CUSTOM" && isSet(spec["provider"]))
    yield {
      at: ["spec", "provider"],
      message: `A policy with action ${action} has no provider: only CUSTOM calls one`,
    };
}

/** Reports one value; undefined: nothing is wrong with it. */
type Check = (value: string) => string | undefined;

const isPresent: Check = (value) => (value === "" ? "A value cannot be empty" : undefined);
const isAddress: Check = (value) =>
  value === ""
    ? isPresent(value)
    : isAddressOrBlock(value)
      ? undefined
      : `${quoted(value)} is no IP address and no CIDR block`;
const isPort: Check = (value) =>
  /^[0-9]+$/.test(value) && Number(value) <= 65_535 ? undefined : `${quoted(value)} is no port number`;

const isServiceAccount: Check = (value) => {
  if (value.includes("*")) return "A service account has no wildcards";
  const parts = value.split("/");
  return parts.length <= 2 && !parts.includes("") && value.length <= 320
    ? undefined
    : `A service account is written as "name" or "namespace/name", not as ${quoted(value)}`;
};

/** CheckWildcardValues. */
const isWithWildcard: Check = (value) =>
  value === "" || /^[^*]+\*?$|^\*[^*]*$/.test(value) ? isPresent(value) : "A * is allowed at one end only";

const isTrustDomain: Check = (value) =>
  value.includes("/") ? `A trust domain has no "/", as in ${quoted(value)}` : isWithWildcard(value);

/** CheckValidPathTemplate: `{*}` is one segment, `{**}` any number of them, once and after all `{*}`. */
const isPath: Check = (value) => {
  const isTemplate = value.includes("{*}") || value.includes("{**}");
  let hasRest = false;
  for (const segment of value.replace(/^\/+|\/+$/g, "").split("/")) {
    if (segment === "{*}" || segment === "{**}") {
      if (hasRest) return `{**} must be the last of the templates in path ${quoted(value)}`;
      hasRest ||= segment === "{**}";
    } else if (/[{}]/.test(segment)) return `Path ${quoted(value)} has braces that are neither {*} nor {**}`;
    else if (isTemplate && !/^[a-zA-Z0-9\-._~%!$&'()+,;:@=]+$/.test(segment))
      return `Path ${quoted(value)} has a segment that a path with {*} or {**} cannot have: ${quoted(segment)}`;
  }
  return isPresent(value);
};

const sources: readonly (readonly [string, Check])[] = [
  ["principals", isPresent],
  ["requestPrincipals", isPresent],
  ["namespaces", isPresent],
  ["serviceAccounts", isServiceAccount],
  ["trustDomains", isTrustDomain],
  ["ipBlocks", isAddress],
  ["remoteIpBlocks", isAddress],
];
const operations: readonly (readonly [string, Check])[] = [
  ["hosts", isPresent],
  ["methods", isPresent],
  ["paths", isPath],
  ["ports", isPort],
];
/** Each field, and the one that negates it. */
const bothOf = (field: string): readonly string[] => [field, `not${field.charAt(0).toUpperCase()}${field.slice(1)}`];

function* refusedValues(fields: Fields, checks: typeof sources, at: Path): Refused {
  for (const [name, check] of checks)
    for (const field of bothOf(name)) yield* checked(fields[field], check, [...at, field]);
}

function* checked(values: unknown, check: Check, at: Path): Refused {
  for (const { text, at: place } of textsOf(values, at)) {
    const message = check(text);
    if (message !== undefined) yield { at: place, message };
  }
}

const hasAny = (fields: Fields, names: readonly string[]): boolean =>
  names.flatMap(bothOf).some((field) => countOf(fields[field]) > 0);

/** What a provider cannot be asked about (`From.… is currently not supported with CUSTOM action`). */
const notForProviders = ["namespaces", "serviceAccounts", "trustDomains", "principals", "requestPrincipals"];

function* refusedSource(from: Fields, at: Path, action: string): Refused {
  const source = fieldsOf(from["source"]);
  const names = sources.map(([name]) => name);
  if (!hasAny(source, names)) yield { at, message: "A source needs at least one field, or it must be left out" };
  if (hasAny(source, ["principals", "namespaces"]) && hasAny(source, ["serviceAccounts"]))
    yield { at: [...at, "source"], message: "A source has service accounts, or principals and namespaces, not both" };
  for (const name of notForProviders)
    for (const field of bothOf(name))
      if (action === "CUSTOM" && countOf(source[field]) > 0)
        yield { at: [...at, "source", field], message: `A policy with action CUSTOM cannot have ${field}` };
  yield* refusedValues(source, sources, [...at, "source"]);
}

function* refusedOperation(to: Fields, at: Path): Refused {
  const operation = fieldsOf(to["operation"]);
  if (
    !hasAny(
      operation,
      operations.map(([name]) => name),
    )
  )
    yield { at, message: "An operation needs at least one field, or it must be left out" };
  yield* refusedValues(operation, operations, [...at, "operation"]);
}

/** The keys of conditions, and how their values are checked (security.go ValidateAttribute). */
const keys: ReadonlyMap<string, Check> = new Map([
  ["source.ip", isAddress],
  ["remote.ip", isAddress],
  ["source.namespace", isPresent],
  ["source.serviceAccount", isServiceAccount],
  ["source.principal", isPresent],
  // ValidateAttribute, other than for the trustDomains of a source.
  ["source.trustDomain", isWithWildcard],
  ["request.auth.principal", isPresent],
  ["request.auth.audiences", isPresent],
  ["request.auth.presenter", isPresent],
  ["destination.ip", isAddress],
  ["destination.port", isPort],
  ["connection.sni", isPresent],
]);
const withBrackets = ["request.headers", "request.auth.claims", "experimental.envoy.filters."];

function* refusedCondition(when: Fields, at: Path, action: string): Refused {
  const key = textOf(when["key"]);
  const problem = keyProblem(key, action);
  if (problem !== undefined) yield { at: [...at, "key"], message: problem };
  if (key !== "" && countOf(when["values"]) + countOf(when["notValues"]) === 0)
    yield { at, message: "A condition needs values or notValues" };
  const check = keys.get(key) ?? isPresent;
  for (const field of ["values", "notValues"]) yield* checked(when[field], check, [...at, field]);
}

function keyProblem(key: string, action: string): string | undefined {
  if (key === "") return "A condition needs a key";
  const isAboutCallers = ["source.namespace", "source.serviceAccount", "source.trustDomain", "source.principal"];
  if (action === "CUSTOM" && (isAboutCallers.includes(key) || key.startsWith("request.auth.")))
    return `A policy with action CUSTOM cannot have conditions on ${key}`;
  if (keys.has(key)) return undefined;
  const prefix = withBrackets.find((one) => key.startsWith(one));
  if (prefix === undefined) return `There is no attribute ${quoted(key)} for conditions`;
  return /^[^[]+\[.+\]$/s.test(key) ? undefined : `The name belongs in brackets: ${prefix}[name]`;
}
