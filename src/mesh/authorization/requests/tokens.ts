import { endingWith, exactly, type Pattern, something, startingWith } from "./patterns.ts";

/**
 * Patterns for issuer and subject of a value of `requestPrincipals`, which is divided at its last slash (Istio
 * pilot/pkg/security/authz/model/generator.go requestPrincipalGenerator).
 */
export function tokensOf(value: string): readonly [issuer: Pattern, subject: Pattern] {
  const slash = value.lastIndexOf("/");
  const [issuer, subject] = slash < 0 ? [value, ""] : [value.slice(0, slash), value.slice(slash + 1)];
  if (value === "*") return [something, something];
  if (value.startsWith("*")) {
    if (slash < 0) return [something, endingWith(value.slice(1))];
    return [issuer === "*" ? something : endingWith(issuer.slice(1)), exactly(subject)];
  }
  if (!value.endsWith("*")) return [exactly(issuer), exactly(subject)];
  if (slash < 0) return [startingWith(value.slice(0, -1)), something];
  return [exactly(issuer), subject === "*" ? something : startingWith(subject.slice(0, -1))];
}
