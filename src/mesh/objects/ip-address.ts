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

/** Whether a text is a CIDR block as Go's netip.ParsePrefix has it: an address without a zone, and as many bits as it may have. */
export function isBlock(text: string): boolean {
  const slash = text.lastIndexOf("/");
  const [address, bits] = [text.slice(0, Math.max(0, slash)), text.slice(slash + 1)];
  if (!isAddress(address) || address.includes("%") || !/^(?:0|[1-9]\d{0,2})$/.test(bits)) return false;
  return Number(bits) <= (address.includes(":") ? 128 : 32);
}
