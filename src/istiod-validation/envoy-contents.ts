import { isObject, type Path } from "../kube/read.ts";
import { nanosecondsOf } from "../text/go-durations.ts";
import { quoted } from "../text/printable.ts";
import { fieldsByTarget } from "./envoy-messages.ts";
import { entriesOf, isSet, type Refused, textOf } from "./raw.ts";

/** Fields of Envoy's API, as all of its messages use these names. */
const messages = /^(?:typed_config|lb_policy_config|retry_policy_typed_config|matcher_config)$/;
const mapsOfMessages = /^(?:typed_per_filter_config|typed_extension_protocol_options|typed_filter_metadata)$/;
const durations =
  /^(?!keepalive_interval$|dns_failure_refresh_rate$)(?:.*_)?(?:timeout|interval|refresh_rate|ejection_time|fixed_delay)$/;
/** Google's Struct, which may hold anything. */
const anything =
  /^(?:metadata|filter_metadata|dynamic_metadata|json_format|typed_json_format|filter_context|layer|static_layer|labels|match|value)$/;

/**
 * What istiod cannot read in the value of a patch (Istio pkg/config/xds/xds.go BuildXDSObjectFromStruct): messages without a
 * type, types of Envoy's API before v3, and durations. istiod discards fields that the message does not have, and warns
 * (pkg/config/validation/envoyfilter/envoyfilter.go).
 */
export function* refusedValue(value: unknown, applyTo: string, at: Path): Refused {
  const known = fieldsByTarget.get(applyTo);
  for (const { key, value: inner, at: place } of entriesOf(value, at)) {
    const name = protoName(key);
    if (known?.has(name) !== true) continue;
    if (name === "name" && isSet(inner) && typeof inner !== "string")
      yield { at: place, message: "The name is a text, in quotes if it looks like a number or like true or false" };
    yield* refusedContents({ [key]: inner }, at);
  }
}

/** Of the messages within, the definitions are not known here: only the names of fields tell what they are. */
function* refusedContents(value: unknown, at: Path): Refused {
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) yield* refusedContents(item, [...at, i]);
    return;
  }
  for (const { key, value: inner, at: place } of entriesOf(value, at)) {
    const name = protoName(key);
    if (messages.test(name)) yield* refusedMessage(inner, place);
    else if (mapsOfMessages.test(name))
      for (const entry of entriesOf(inner, place)) yield* refusedMessage(entry.value, entry.at);
    else if (durations.test(name)) yield* refusedTime(inner, name, place);
    else if (!anything.test(name)) yield* refusedContents(inner, place);
  }
}

const protoName = (key: string): string => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** Go reads what follows the last slash. */
const isType = /(?:^|\/)[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+$/;

/** A google.protobuf.Any; in a TypedExtensionConfig, as matchers have, it is a level deeper. */
function* refusedMessage(message: unknown, at: Path): Refused {
  if (!isObject(message)) {
    if (isSet(message)) yield { at, message: 'A typed message is an object with "@type"' };
    return;
  }
  if (Object.hasOwn(message, "typed_config") || Object.hasOwn(message, "typedConfig")) {
    yield* refusedContents(message, at);
    return;
  }
  const type = textOf(message["@type"]);
  if (!isType.test(type))
    yield {
      at: type === "" ? at : [...at, "@type"],
      message: `A typed message needs "@type" with the name of its type, as in type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua${type === "" ? "" : `, and ${quoted(type)} has none`}`,
    };
  else if (/\.v2(?:alpha\d*)?\./.test(type))
    yield {
      at: [...at, "@type"],
      message: `${quoted(type)} is of Envoy's API before v3, which istiod does not know: name the type of v3`,
    };
  // What a TypedStruct holds is read by Envoy alone.
  else if (!type.endsWith(".TypedStruct")) yield* refusedContents(message, at);
}

function* refusedTime(value: unknown, name: string, at: Path): Refused {
  if (!isSet(value) || typeof value === "boolean" || (typeof value === "string" && nanosecondsOf(value) !== undefined))
    return;
  const shown = typeof value === "string" ? quoted(value) : `${typeof value === "number" ? value : "this value"}`;
  yield { at, message: `${name} is a duration, such as "5s", and ${shown} is none` };
}
