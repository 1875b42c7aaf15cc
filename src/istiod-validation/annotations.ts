import { quoted } from "../text/printable.ts";
import { type Fields, fieldsOf, type Refused, textOf } from "./raw.ts";

/** Annotations that istiod sets for itself. */
const internal: ReadonlySet<string> = new Set([
  "internal.istio.io/webhook-always-reject",
  "internal.istio.io/parent-namespace",
  "internal.istio.io/parents",
]);
const dryRun = "istio.io/dry-run";
/** Go's strconv.ParseBool. */
const booleans: ReadonlySet<string> = new Set("1 t T TRUE true True 0 f F FALSE false False".split(" "));

/** Istio pkg/config/validation/validation.go validateMetadata, checkDryRunAnnotation. */
export function* refusedAnnotations(raw: Fields): Refused {
  const annotations = fieldsOf(fieldsOf(raw["metadata"])["annotations"]);
  const at = ["metadata", "annotations"];
  for (const name of Object.keys(annotations))
    if (internal.has(name)) yield { at: [...at, name], message: `Only istiod sets the annotation ${name}` };
  if (!Object.hasOwn(annotations, dryRun)) return;
  const message = dryRunProblem(raw, textOf(annotations[dryRun]));
  if (message !== undefined) yield { at: [...at, dryRun], message };
}

function dryRunProblem(raw: Fields, value: string): string | undefined {
  if (raw["kind"] !== "AuthorizationPolicy") return `Only an AuthorizationPolicy can have the annotation ${dryRun}`;
  const action = textOf(fieldsOf(raw["spec"])["action"]) || "ALLOW";
  if (action !== "ALLOW" && action !== "DENY") return `Only actions ALLOW and DENY can have the annotation ${dryRun}`;
  return booleans.has(value) ? undefined : `The annotation ${dryRun} is "true" or "false", not ${quoted(value)}`;
}
