/** Istio pkg/config/labels/instance.go IsDNS1123Label, which accepts upper case. */
export const isLabel = (value: string): boolean =>
  value.length <= 63 && /^[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?$/.test(value);

/** Istio pkg/config/labels/instance.go IsWildcardDNS1123Label. */
const isWildcardLabel = (value: string): boolean =>
  value.length <= 63 && /^(?:\*|(?:\*-?)?[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?)$/.test(value);

/**
 * Istio pkg/config/validation/agent/validation.go ValidateDNS1123Labels: a final dot is allowed, a numeric last label
 * is not.
 */
function areLabels(domain: string): boolean {
  const labels = domain.split(".");
  if (/^[0-9]{1,18}$/.test(labels.at(-1) ?? "")) return false;
  if (labels.at(-1) === "") labels.pop();
  return labels.every(isLabel);
}

const hasLength = (domain: string): boolean => domain.length >= 1 && domain.length <= 255;

/** Istio pkg/config/validation/agent/validation.go ValidateFQDN. */
export const isDomain = (domain: string): boolean => hasLength(domain) && areLabels(domain);

/**
 * Istio pkg/config/validation/agent/validation.go ValidateWildcardDomain: `*` only in the first label; a short name
 * is one.
 */
export function isWildcardDomain(domain: string): boolean {
  const dot = domain.indexOf(".");
  if (!hasLength(domain) || !isWildcardLabel(dot < 0 ? domain : domain.slice(0, dot))) return false;
  return dot < 0 || areLabels(domain.slice(dot + 1));
}
