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

const byte = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
const ipv4 = new RegExp(`^${byte}(?:\\.${byte}){3}$`);

/** Whether a text is an IP address as Go's netip.ParseAddr has it: without leading zeros, IPv6 also with a zone. */
export const isAddress = (text: string): boolean => ipv4.test(text) || (text.includes(":") && isIPv6(text));

/** `::` stands for at least one group, and an IPv4 address at the end for two. */
function isIPv6(text: string): boolean {
  const percent = text.indexOf("%");
  if (percent === text.length - 1) return false;
  const address = percent < 0 ? text : text.slice(0, percent);
  const [before = "", after, ...more] = withoutIPv4(address).split("::");
  const groups = [before, after ?? ""].flatMap((side) => (side === "" ? [] : side.split(":")));
  const isComplete = after === undefined ? groups.length === 8 : groups.length < 8 && more.length === 0;
  return isComplete && groups.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group));
}

/** The same number of groups without the IPv4 address. */
function withoutIPv4(address: string): string {
  const colon = address.lastIndexOf(":");
  return ipv4.test(address.slice(colon + 1)) ? `${address.slice(0, colon + 1)}0:0` : address;
}
