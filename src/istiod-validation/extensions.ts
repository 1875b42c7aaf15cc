import type { Path } from "../kube/read.ts";
import { quoted } from "../text/printable.ts";
import { type Fields, fieldsOf, isSet, itemsOf, numberOf, type Refused, textOf, type Written } from "./raw.ts";
import { refusedScope } from "./selectors.ts";
import { schemeOf } from "./urls.ts";

/** Istio pkg/config/validation/validation.go ValidateWasmPlugin. */
export function* refuseWasmPlugin({ spec }: Written): Refused {
  yield* refusedScope(spec);
  yield* refusedModule(spec, ["spec"]);
  yield* refusedMatch(spec["match"], ["spec", "match"]);
}

/** ValidateTrafficExtension. */
export function* refuseTrafficExtension({ spec }: Written): Refused {
  yield* refusedScope(spec);
  if (isSet(spec["wasm"]) === isSet(spec["lua"]))
    yield { at: ["spec"], message: "A TrafficExtension needs exactly one of wasm and lua" };
  if (isSet(spec["wasm"])) yield* refusedModule(fieldsOf(spec["wasm"]), ["spec", "wasm"]);
  if (isSet(spec["lua"])) {
    const code = textOf(fieldsOf(spec["lua"])["inlineCode"]);
    const message = code === "" ? "A script in Lua needs inlineCode" : "A script in Lua has 64 KB at most";
    if (code === "" || new Blob([code]).size > 65_536) yield { at: ["spec", "lua", "inlineCode"], message };
  }
  yield* refusedMatch(spec["match"], ["spec", "match"]);
}

function* refusedModule(module: Fields, at: Path): Refused {
  const url = textOf(module["url"]);
  const message = urlProblem(url);
  if (message !== undefined) yield { at: url === "" ? at : [...at, "url"], message };
  const sum = textOf(module["sha256"]);
  if (sum !== "" && !/^[0-9a-f]{64}$/.test(sum))
    yield { at: [...at, "sha256"], message: "A SHA-256 sum has 64 digits of 0-9 and a-f" };
  for (const [field, most] of [["imagePullSecret", 253] as const, ["pluginName", 256] as const])
    if (textOf(module[field]).length > most)
      yield { at: [...at, field], message: `${field} has ${most} bytes at most` };
  yield* refusedVariables(fieldsOf(module["vmConfig"])["env"], [...at, "vmConfig", "env"]);
}

const schemes: ReadonlySet<string> = new Set(["", "file", "http", "https", "oci"]);

/** validateWasmPluginURL, strictParseURL: a URL that cannot be read may lack its scheme. */
function urlProblem(url: string): string | undefined {
  if (url === "") return "A module needs a url";
  const scheme = [url, `http://${url}`]
    .map((one) => (schemeOf(one, true) === undefined ? undefined : (schemeOf(one, false) ?? "?")))
    .find((one) => one !== undefined);
  if (scheme === undefined || scheme === "?") return `${quoted(url)} is no URL`;
  return schemes.has(scheme) ? undefined : `A module is fetched with oci, http, https or file, not with ${scheme}`;
}

function* refusedVariables(variables: unknown, at: Path): Refused {
  const names = new Set<string>();
  for (const { fields, at: place } of itemsOf(variables, at)) {
    const name = textOf(fields["name"]);
    if (name === "") yield { at: place, message: "A variable needs a name" };
    if (name.length > 256) yield { at: [...place, "name"], message: "The name of a variable has 256 bytes at most" };
    if (names.has(name)) yield { at: [...place, "name"], message: `Two variables have the name ${quoted(name)}` };
    names.add(name);
    if (textOf(fields["valueFrom"]) === "HOST" && textOf(fields["value"]) !== "")
      yield { at: [...place, "value"], message: "A variable of the host has no value of its own" };
  }
}

const modes: ReadonlySet<string> = new Set(["UNDEFINED", "CLIENT", "SERVER", "CLIENT_AND_SERVER"]);

function* refusedMatch(match: unknown, at: Path): Refused {
  for (const selector of itemsOf(match, at)) {
    const { mode } = selector.fields;
    if (typeof mode === "string" && !modes.has(mode))
      yield {
        at: [...selector.at, "mode"],
        message: `${quoted(mode)} is no mode: CLIENT, SERVER or CLIENT_AND_SERVER`,
      };
    for (const port of itemsOf(selector.fields["ports"], [...selector.at, "ports"])) {
      const number = numberOf(port.fields["number"]);
      if (!Number.isInteger(number) || number < 1 || number > 65_535)
        yield { at: port.at, message: `The number of a port is from 1 to 65535, and ${number} is not` };
    }
  }
}
