/** What is wrong with the value of a header. */
export interface ValueFault {
  readonly because: string;
  /** Envoy gets new variables with its releases; no release has one that is not spelled as they all are. */
  readonly isCertain: boolean;
}

const variable = /%(?<name>[A-Z0-9_]+)(?:\(.*?\))?(?::\d+)?%/y;

/**
 * Why Envoy does not accept the value that a route gives a header, as istiod passes it on without a change (Istio
 * pilot/pkg/networking/core/route/route.go translateAppendHeaders); undefined: it does. Envoy replaces variables in it (Envoy
 * source/common/router/header_parser.cc, source/common/formatter/substitution_formatter.cc SubstitutionFormatParser::parse) and
 * rejects the whole route configuration for one that it does not know.
 */
export function faultOfHeaderValue(value: string): ValueFault | undefined {
  if (isControl.test(value)) return { because: "a header cannot have control characters", isCertain: true };
  let at = value.indexOf("%");
  while (at >= 0) {
    const [end, name] = value[at + 1] === "%" ? [at + 2, undefined] : variableAt(value, at);
    if (end === undefined)
      return { because: "a percent sign begins no variable: write %% for a percent sign", isCertain: true };
    if (name !== undefined && !firstWords.has(name.split("_", 1)[0] ?? ""))
      return { because: `Envoy has no variable %${name}%: write %% for a percent sign`, isCertain: false };
    at = value.indexOf("%", end);
  }
  return undefined;
}

function variableAt(value: string, at: number): readonly [end: number | undefined, name: string | undefined] {
  variable.lastIndex = at;
  const name = variable.exec(value)?.groups?.["name"];
  return name === undefined ? [undefined, undefined] : [variable.lastIndex, name];
}

/** istiod drops all rules of a route of the Gateway API with one (pilot/pkg/config/kube/gateway/conversion.go isValidHeaderValue). */
// biome-ignore lint/suspicious/noControlCharactersInRegex: headers cannot have them.
const isControl = /[\u0000-\u0008\u000a-\u001f\u007f]/;

/** The first words of the names of Envoy's variables, which those of later releases are likely to have too. */
const firstWords: ReadonlySet<string> = new Set(
  "ACCESS BYTES CEL CLUSTER COALESCE COMMON CONNECTION CUSTOM DOWNSTREAM DURATION DYNAMIC EMIT ENVIRONMENT FILE FILTER GRPC HOST HOSTNAME HTTP LISTENER LOCAL METADATA PACKETS PATH PER PROTOCOL PROXY QUERY REQ REQUEST REQUESTED RESP RESPONSE ROUNDTRIP ROUTE SERVER SPAN START STREAM TLS TRACE TRAILER UNIQUE UPSTREAM VIRTUAL WORKER XDS".split(
    " ",
  ),
);

type State = "literal" | "name" | "argument" | "quote" | "string" | "delimiter" | "close" | "end";

/** The next state of its parser for a letter; "" is every other letter, and a blank stays. */
const steps: Readonly<Record<State, Readonly<Record<string, State>>>> = {
  literal: { "%": "name", "": "literal" },
  name: { "%": "literal", "(": "argument", "": "name" },
  argument: { "[": "quote", "": "string" },
  quote: { '"': "string" },
  string: { ")": "end", '"': "delimiter", "": "string" },
  delimiter: { ",": "quote", "]": "close" },
  close: { ")": "end" },
  end: { "%": "literal" },
};

/**
 * Whether every variable in the value of a header ends, as istiod's webhook asks of VirtualServices (Istio
 * pkg/config/validation/header_value_validator.go validateHeaderValue). It knows neither the names of variables nor `:length`.
 */
export function endsVariables(value: string): boolean {
  let state: State = "literal";
  for (let i = 0; i < value.length; i++) {
    const letter = value.charAt(i);
    const skips = state === "literal" ? value.startsWith("%%", i) : state === "string" && letter === "\\";
    if (skips) {
      if (++i === value.length) return false;
      continue;
    }
    const next: State | undefined = steps[state][letter] ?? (letter === " " ? state : steps[state][""]);
    if (next === undefined) return false;
    state = next;
  }
  return state === "literal";
}
