import type { Path } from "../kube/read.ts";
import { endsVariables } from "../mesh/traffic/header-values.ts";
import { quoted } from "../text/printable.ts";
import { entriesOf, type Fields, fieldsOf, type Refused, textOf, textsOf } from "./raw.ts";

/** In Istio's pattern, "+-." is a range, which has the comma too. */
const isToken = /^[!#$%&'*+,\-.^_`|~A-Za-z0-9]+$/;
const pseudoHeaders: ReadonlySet<string> = new Set([":method", ":scheme", ":authority", ":path", ":status"]);

/** Istio pkg/jwt/routing.go ToRoutingClaim: a claim of a token, which routes of gateways are chosen by. */
export const isClaim = (name: string): boolean => /^@request\.auth\.claims(?:\..+|\[.+\])$/is.test(name);

/** Istio pkg/config/validation/validation.go ValidateHTTPHeaderNameOrJwtClaimRoute. */
export const isMatchedHeader = (name: string): boolean =>
  isClaim(name) || pseudoHeaders.has(name) || isToken.test(name);

/** ValidateCORSHTTPHeaderName. */
export const isCorsHeader = (name: string): boolean => isToken.test(name);

/** The headers that a route or a destination changes (virtualservice.go validateHTTPRoute). */
export function* refusedHeaders(value: unknown, at: Path): Refused {
  for (const message of ["request", "response"]) {
    const changes = fieldsOf(fieldsOf(value)[message]);
    const place = [...at, message];
    const mayBeHost = message === "request";
    for (const field of ["add", "set"])
      for (const { key, value: text, at: here } of entriesOf(changes[field], [...place, field])) {
        yield* refusedName(key, mayBeHost, here);
        yield* refusedValue(textOf(text), here);
      }
    for (const { text, at: here } of textsOf(changes["remove"], [...place, "remove"]))
      yield* refusedName(text, false, here);
  }
}

const isHost = (name: string): boolean => [":authority", "host"].includes(name.toLowerCase());

/** ValidateHTTPHeaderWithAuthorityOperationName, ValidateHTTPHeaderOperationName. */
function* refusedName(name: string, mayBeHost: boolean, at: Path): Refused {
  if (name === "") yield { at, message: "A header needs a name" };
  else if ((name.startsWith(":") || isHost(name)) && !(mayBeHost && isHost(name)))
    yield {
      at,
      message: `Header ${quoted(name)} cannot be changed here: only set and add for requests change the host`,
    };
}

/** validateAuthorityRewrite: how often a route changes the host. */
export function* refusedHosts(rewrite: Fields, headers: unknown, at: Path): Refused {
  const request = fieldsOf(fieldsOf(headers)["request"]);
  const said = ["set", "add"].flatMap((field) => entriesOf(request[field], [...at, "headers", "request", field]));
  const hosts = said.filter(({ key }) => isHost(key));
  const again = textOf(rewrite["authority"]) === "" ? hosts[1] : hosts[0];
  if (again !== undefined && textOf(hosts[0]?.value ?? rewrite["authority"]) !== "")
    yield { at: again.at, message: "The host of requests is changed twice: by rewrite.authority, set or add" };
}

/** ValidateHTTPHeaderValue. */
function* refusedValue(value: string, at: Path): Refused {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: headers cannot have them.
  if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(value))
    yield { at, message: "A header cannot have control characters" };
  else if (!endsVariables(value))
    yield {
      at,
      message: `${quoted(value)} ends within a variable: write %NAME%, %NAME(...)%, or %% for a percent sign`,
    };
}
