/** Addresses of both families on one line: all of IPv4, then all of IPv6. */
export interface Range {
  readonly first: bigint;
  readonly last: bigint;
}

/** Where the addresses of IPv6 begin. */
export const v6 = 1n << 32n;
export const isIPv6 = (address: bigint): boolean => address >= v6;

/**
 * The block of an address or a CIDR; undefined: it is neither. Bits behind the prefix are ignored (Istio
 * pilot/pkg/networking/util/util.go AddrStrToPrefix).
 */
export function blockOf(text: string): Range | undefined {
  const [address = "", bits, ...rest] = text.split("/");
  const parsed = address.includes(":") ? parseIPv6(address) : parseIPv4(address);
  if (parsed === undefined || rest.length > 0) return undefined;
  const [base, width] = isIPv6(parsed) ? [v6, 128] : [0n, 32];
  const prefix = bits === undefined ? width : prefixOf(bits);
  if (prefix === undefined || prefix > width) return undefined;
  const hosts = 1n << BigInt(width - prefix);
  const first = base + ((parsed - base) / hosts) * hosts;
  return { first, last: first + hosts - 1n };
}

const prefixOf = (text: string): number | undefined => (/^\d{1,3}$/.test(text) ? Number(text) : undefined);

function parseIPv4(text: string): bigint | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) < 256)) return undefined;
  return BigInt(parts.reduce((sum, part) => sum * 256 + Number(part), 0));
}

function parseIPv6(text: string): bigint | undefined {
  const halves = withoutDots(text)?.split("::");
  if (halves === undefined || halves.length > 2) return undefined;
  const [left = [], right = []] = halves.map((half) => (half === "" ? [] : half.split(":")));
  const missing = 8 - left.length - right.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  const groups = [...left, ...Array.from({ length: missing }, () => "0"), ...right];
  if (!groups.every((group) => /^[0-9a-f]{1,4}$/i.test(group))) return undefined;
  return v6 + groups.reduce((sum, group) => (sum << 16n) + BigInt(`0x${group}`), 0n);
}

/** With an IPv4 address at the end as two groups; undefined: it is none. */
function withoutDots(text: string): string | undefined {
  const [, start = "", end] = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text) ?? [];
  if (end === undefined) return text;
  const tail = parseIPv4(end);
  return tail === undefined ? undefined : `${start}${(tail >> 16n).toString(16)}:${(tail & 0xffffn).toString(16)}`;
}
