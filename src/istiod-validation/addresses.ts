import { blockOf } from "../mesh/authorization/requests/addresses.ts";

/** Whether a text is an IP address as Go's netip.ParseAddr has it: without leading zeros, with a zone for IPv6 alone. */
export function isAddress(text: string): boolean {
  const [address = "", zone] = text.split("%", 2);
  if (text.includes("/") || zone === "" || (zone !== undefined && !address.includes(":"))) return false;
  return isWithoutZeros(address) && blockOf(address) !== undefined;
}

/** Whether a text is an address, or a CIDR block (netip.ParsePrefix). */
export const isAddressOrBlock = (text: string): boolean =>
  text.includes("/") ? isWithoutZeros(text) && blockOf(text) !== undefined : isAddress(text);

const isWithoutZeros = (text: string): boolean => text.includes(":") || !/(?:^|\.)0[0-9]/.test(text);
