import { blockOf } from "../mesh/authorization/requests/addresses.ts";
import { isAddress } from "../mesh/objects/ip-address.ts";

/** Whether a text is an address, or a CIDR block without leading zeros (Go's netip.ParsePrefix). */
export const isAddressOrBlock = (text: string): boolean =>
  text.includes("/") ? isAddress(text.replace(/\/.*$/s, "")) && blockOf(text) !== undefined : isAddress(text);
