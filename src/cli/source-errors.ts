import { printableLine } from "../text/printable.ts";
import type { SourceError } from "../sources/manifests/manifests.ts";

/** Several errors, each on an indented line of its own. */
export const shownErrors = (errors: readonly SourceError[]): string =>
  errors.map((error) => `  ${shownError(error)}`).join("\n");

/** Formats an error as `file:line:column: message`, the form of compilers that editors recognize. */
export function shownError({ file, line, column, message }: SourceError): string {
  const place = [file, line, line === undefined ? undefined : column].filter((part) => part !== undefined).join(":");
  return printableLine(`${place}: ${message}`, 2000);
}
