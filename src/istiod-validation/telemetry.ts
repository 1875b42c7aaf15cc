import type { Path } from "../kube/read.ts";
import { quoted } from "../text/printable.ts";
import {
  entriesOf,
  type Fields,
  fieldsOf,
  isSet,
  itemsOf,
  numberOf,
  type ParseProblem,
  type Refused,
  textOf,
  type Written,
} from "./raw.ts";
import { refusedScope } from "./selectors.ts";

/** Istio pkg/config/validation/validation.go ValidateTelemetry. */
export function* refuseTelemetry({ spec, expressionProblem }: Written): Refused {
  yield* refusedScope(spec);
  for (const field of ["metrics", "tracing", "accessLogging"])
    for (const { fields, at } of itemsOf(spec[field], ["spec", field]))
      yield* refusedProviders(fields["providers"], [...at, "providers"]);
  for (const { fields, at } of itemsOf(spec["metrics"], ["spec", "metrics"]))
    for (const override of itemsOf(fields["overrides"], [...at, "overrides"]))
      yield* refusedOverride(override.fields, override.at);
  for (const { fields, at } of itemsOf(spec["tracing"], ["spec", "tracing"])) yield* refusedTracing(fields, at);
  for (const { fields, at } of itemsOf(spec["accessLogging"], ["spec", "accessLogging"]))
    if (isSet(fields["filter"])) yield* refusedFilter(fieldsOf(fields["filter"]), [...at, "filter"], expressionProblem);
}

function* refusedProviders(providers: unknown, at: Path): Refused {
  for (const { fields, at: place } of itemsOf(providers, at))
    if (textOf(fields["name"]) === "") yield { at: place, message: "A provider needs a name" };
}

function* refusedOverride(override: Fields, at: Path): Refused {
  for (const { fields, at: place } of entriesOf(override["tagOverrides"], [...at, "tagOverrides"])) {
    const isRemoved = fields["operation"] === "REMOVE";
    if (isRemoved === (textOf(fields["value"]) !== ""))
      yield {
        at: place,
        message: isRemoved ? "A tag that is removed has no value" : "A tag needs a value, unless it is removed",
      };
  }
  if (fieldsOf(override["match"])["customMetric"] === "")
    yield { at: [...at, "match", "customMetric"], message: "A custom metric needs a name" };
}

/** What a tag takes its value from, and the field that says so. */
const tagSources = { literal: "value", header: "name", environment: "name" } as const;

/** validateTelemetryTracing. */
function* refusedTracing(tracing: Fields, at: Path): Refused {
  const percent = numberOf(tracing["randomSamplingPercentage"]);
  if (percent < 0 || percent > 100)
    yield { at: [...at, "randomSamplingPercentage"], message: `A percentage is from 0 to 100, and ${percent} is not` };
  for (const { key, fields, at: place } of entriesOf(tracing["customTags"], [...at, "customTags"])) {
    if (key === "") yield { at: place, message: "A tag needs a name" };
    for (const [source, field] of Object.entries(tagSources))
      if (isSet(fields[source]) && textOf(fieldsOf(fields[source])[field]) === "")
        yield { at: [...place, source], message: `Tag ${quoted(key)} needs the ${field} of its ${source}` };
  }
}

/** Istio pkg/config/validation/validation_istiod.go validateTelemetryFilter: istiod parses the expression, and checks no types. */
function* refusedFilter(filter: Fields, at: Path, problemOf: ParseProblem): Refused {
  const expression = textOf(filter["expression"]);
  const problem = problemOf(expression);
  if (problem !== undefined)
    yield { at: [...at, "expression"], message: `${quoted(expression)} is no expression in CEL: ${problem}` };
}
