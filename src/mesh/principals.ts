/**
 * Why a principal of a policy names nobody; undefined: it may name somebody. An identity is
 * `<trust domain>/ns/<namespace>/sa/<service account>`, without `spiffe://`; a `*` counts at one end only, anywhere else
 * it stands for itself (Istio pkg/spiffe/spiffe.go, pilot/pkg/security/authz/matcher/string.go).
 */
export function principalProblem(principal: string): string | undefined {
  if (principal === "") return "it is empty";
  if (principal.startsWith("spiffe://")) return "identities are compared without spiffe://";
  // A * in front decides, and one at the end then stands for itself.
  const open = principal.startsWith("*") ? "start" : principal.endsWith("*") ? "end" : undefined;
  const fixed = open === "start" ? principal.slice(1) : open === "end" ? principal.slice(0, -1) : principal;
  if (fixed.includes("*")) return "a * counts only at one end";
  return shapeProblem(fixed.split("/"), open);
}

function shapeProblem(parts: readonly string[], open: "start" | "end" | undefined): string | undefined {
  if (open === "start") return fitsEnd(parts) ? undefined : shape;
  if (fitsStart(parts) && (open === "end" || parts.length === names.length)) return undefined;
  return parts[0] === "ns" ? `the trust domain is missing, ${shape}` : shape;
}

const shape = "identities have the form <trust domain>/ns/<namespace>/sa/<service account>";
/** What stands at each place; undefined: a name. */
const names = [undefined, "ns", undefined, "sa", undefined] as const;

/** The last part may go on: it has to be the start of what stands there. */
function fitsStart(parts: readonly string[]): boolean {
  if (parts.length > names.length) return false;
  return parts.every((part, i) => {
    const isLast = i === parts.length - 1;
    const name = names[i];
    if (name === undefined) return part !== "" || (isLast && i > 0);
    return isLast ? name.startsWith(part) : part === name;
  });
}

/** The same from the other end. */
function fitsEnd(parts: readonly string[]): boolean {
  if (parts.length > names.length) return false;
  const from = names.length - parts.length;
  return parts.every((part, i) => {
    const name = names[from + i];
    if (name === undefined) return part !== "" || i === 0;
    return i === 0 ? name.endsWith(part) : part === name;
  });
}
