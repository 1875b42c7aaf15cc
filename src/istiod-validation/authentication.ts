import type { Path } from "../kube/read.ts";
import { quoted } from "../text/printable.ts";
import { refusedDuration } from "./durations.ts";
import { jwksProblem } from "./json-web-keys.ts";
import {
  entriesOf,
  type Fields,
  fieldsOf,
  isSet,
  itemsOf,
  type Refused,
  textOf,
  textsOf,
  type Written,
} from "./raw.ts";
import { refusedScope, refusedSelector } from "./selectors.ts";
import { schemeOf } from "./urls.ts";

/** Istio pkg/config/validation/validation.go ValidatePeerAuthentication. */
export function* refusePeerAuthentication({ spec }: Written): Refused {
  const labels = fieldsOf(spec["selector"])["matchLabels"];
  const at = ["spec", "portLevelMtls"];
  const ports = entriesOf(spec["portLevelMtls"], at);
  if (ports.length > 0 && Object.keys(fieldsOf(labels)).length === 0)
    yield { at, message: "Modes of single ports need a selector with labels" };
  for (const { key, at: place } of ports)
    if (!/^[1-9][0-9]*$/.test(key) || Number(key) > 65_535)
      yield { at: place, message: `${quoted(key)} is no port number from 1 to 65535` };
  yield* refusedSelector(labels, ["spec", "selector", "matchLabels"]);
}

/** ValidateRequestAuthentication, validateJwtRule. */
export function* refuseRequestAuthentication({ spec }: Written): Refused {
  yield* refusedScope(spec);
  for (const { fields, at } of itemsOf(spec["jwtRules"], ["spec", "jwtRules"])) {
    yield* refusedIssuer(fields, at);
    yield* refusedPlaces(fields, at);
    yield* refusedDuration(fields["timeout"], [...at, "timeout"]);
  }
}

function* refusedIssuer(rule: Fields, at: Path): Refused {
  // Istio reads the name of the protobuf field too.
  const [uri, field] = isSet(rule["jwksUri"])
    ? [textOf(rule["jwksUri"]), "jwksUri"]
    : [textOf(rule["jwks_uri"]), "jwks_uri"];
  if (textOf(rule["issuer"]) === "" && uri === "")
    yield { at, message: "A rule for tokens needs an issuer or a jwksUri" };
  if (uri !== "" && !["http", "https"].includes(schemeOf(uri, false) ?? ""))
    yield { at: [...at, field], message: `${quoted(uri)} is no URL with http or https` };
  const jwks = textOf(rule["jwks"]);
  const problem = jwks === "" ? undefined : jwksProblem(jwks);
  if (problem !== undefined) yield { at: [...at, "jwks"], message: `The text ${problem}` };
}

function* refusedPlaces(rule: Fields, at: Path): Refused {
  for (const field of ["audiences", "fromParams", "fromCookies"])
    for (const { text, at: place } of textsOf(rule[field], [...at, field]))
      if (text === "") yield { at: place, message: "A value cannot be empty" };
  for (const header of itemsOf(rule["fromHeaders"], [...at, "fromHeaders"]))
    if (textOf(header.fields["name"]) === "") yield { at: header.at, message: "A header needs a name" };
  for (const claim of itemsOf(rule["outputClaimToHeaders"], [...at, "outputClaimToHeaders"])) {
    const name = textOf(claim.fields["header"]);
    if (name === "" || textOf(claim.fields["claim"]) === "")
      yield { at: claim.at, message: "A claim that is copied needs both claim and header" };
    else if (!/^[-_A-Za-z0-9]+$/.test(name))
      yield {
        at: [...claim.at, "header"],
        message: `${quoted(name)} is no name of a header: letters, digits, "-" and "_"`,
      };
  }
}
