import { RE2JS } from "@bufbuild/re2";
import type { Path } from "../kube/read.ts";
import { quoted } from "../text/printable.ts";
import type { Refused } from "./raw.ts";

/** Istio pkg/config/validation/validation.go validateStringRegexp: Envoy and Go use the same syntax. */
export function* refusedPattern(pattern: string, at: Path): Refused {
  try {
    new RE2JS(pattern).test("");
  } catch (error) {
    const reason = error instanceof Error ? error.message.replace(/^error parsing regexp: /, "") : "";
    yield { at, message: `${quoted(pattern)} is no regular expression in the syntax of RE2 (${reason})` };
  }
}
