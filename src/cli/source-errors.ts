import { printableLine } from "../text/printable.ts";
import type { SourceError } from "../sources/manifests/manifests.ts";

/** `file:line:column: message`, as compilers write it and editors follow it. */
export function shownError({ file, line, column, message }: SourceError): string {
  const place = [file, line, line === undefined ? undefined : column].filter((part) => part !== undefined).join(":");
  return printableLine(`${place}: ${message}`, 2000);
}
