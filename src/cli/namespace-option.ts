import { InvalidArgumentError } from "commander";

/** The name of a namespace, for an option (RFC 1123 label, apimachinery IsDNS1123Label). Throws commander's error for another text. */
export function namespaceName(text: string): string {
  if (/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(text)) return text;
  throw new InvalidArgumentError("expected the name of a namespace: at most 63 lower case letters, digits and -.");
}
