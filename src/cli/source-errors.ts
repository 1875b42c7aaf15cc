import { printableLine } from "../text/printable.ts";
import type { SourceError } from "../sources/manifests/manifests.ts";

/** Formats an error as `file:line:column: message`, the form of compilers that editors recognize. */
export function shownError({ file, line, column, message }: SourceError): string {
  const place = [file, line, line === undefined ? undefined : column].filter((part) => part !== undefined).join(":");
  return printableLine(`${place}: ${message}`, 2000);
}
