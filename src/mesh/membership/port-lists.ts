/**
 * The ports of an annotation; undefined: Istio refuses the value, and the injector then refuses the pod.
 *
 * Two programs read the value. Istio checks every item as a decimal number of at most 16 bits, without spaces around it
 * (pkg/kube/inject/validate.go parsePorts). iptables and nft then read the same text, and take a leading zero for an octal
 * number (`strtoul` with base 0), so that `0017620` is port 8080. A number with a leading zero that is not octal is
 * refused by iptables, and the pod does not start.
 */
export function portsIn(list: string): ReadonlySet<number> | undefined {
  const trimmed = list.trim();
  const ports = new Set<number>();
  if (trimmed === "") return ports;
  for (const item of trimmed.split(",")) {
    const port = portIn(item);
    if (port === undefined) return undefined;
    ports.add(port);
  }
  return ports;
}

const highestPort = 65_535;

/** One port, read in the same way. */
export function portIn(item: string): number | undefined {
  const digits = item.trim();
  if (!/^\d+$/.test(digits) || Number(digits) > highestPort) return undefined;
  if (!digits.startsWith("0")) return Number(digits);
  return /[89]/.test(digits) ? undefined : Number.parseInt(digits, 8);
}
