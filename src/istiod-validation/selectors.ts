import type { Path } from "../kube/read.ts";
import { quoted } from "../text/printable.ts";
import { countOf, entriesOf, type Fields, fieldsOf, isSet, itemsOf, type Refused, textOf } from "./raw.ts";

/** Istio pkg/config/validation/validation.go validateWorkloadSelector, ValidateAlphaWorkloadSelector. */
export function* refusedSelector(labels: unknown, at: Path): Refused {
  for (const { key, value, at: place } of entriesOf(labels, at)) {
    if (key === "") yield { at, message: "A label of a selector needs a key" };
    if (key.includes("*") || textOf(value).includes("*"))
      yield { at: place, message: "A selector has no wildcards: labels are compared as text" };
  }
}

const targetKinds: ReadonlySet<string> = new Set([
  "core/Service",
  "networking.istio.io/ServiceEntry",
  "gateway.networking.k8s.io/Gateway",
  "gateway.networking.k8s.io/GatewayClass",
]);

/**
 * The selector and the targets of a policy (validateOneOfSelectorType, validateWorkloadSelector,
 * validatePolicyTargetReference).
 */
export function* refusedScope(spec: Fields): Refused {
  const targets = itemsOf(spec["targetRefs"], ["spec", "targetRefs"]);
  const given = [isSet(spec["selector"]), isSet(spec["targetRef"]), targets.length > 0].filter(Boolean);
  if (given.length > 1)
    yield {
      at: ["spec", targets.length > 0 ? "targetRefs" : "targetRef"],
      message: "Only one of selector, targetRef and targetRefs can be set",
    };
  yield* refusedSelector(fieldsOf(spec["selector"])["matchLabels"], ["spec", "selector", "matchLabels"]);
  if (isSet(spec["targetRef"])) yield* refusedTarget(fieldsOf(spec["targetRef"]), ["spec", "targetRef"]);
  for (const { fields, at } of targets) yield* refusedTarget(fields, at);
}

function* refusedTarget(target: Fields, at: Path): Refused {
  if (textOf(target["name"]) === "") yield { at, message: "A target needs a name" };
  if (textOf(target["namespace"]) !== "")
    yield {
      at: [...at, "namespace"],
      message: "A target is in the namespace of the policy, and cannot name another one",
    };
  const group = textOf(target["group"]) || "core";
  if (!targetKinds.has(`${group}/${textOf(target["kind"])}`))
    yield {
      at,
      message: `A policy cannot target ${quoted(textOf(target["kind"]))} of group ${quoted(group)}: targets are Services (group ""), ServiceEntries (networking.istio.io), Gateways and GatewayClasses (gateway.networking.k8s.io)`,
    };
}

/** validateExportTo: `~` is for ServiceEntries alone. */
export function* refusedExportTo(spec: Fields, namespace: string | undefined, isServiceEntry: boolean): Refused {
  const at = ["spec", "exportTo"];
  const seen = new Set<string>();
  for (const { value, at: place } of itemsOf(spec["exportTo"], at)) {
    const said = textOf(value);
    const name = said === "." ? (namespace ?? said) : said;
    const message = seen.has(name) ? `exportTo names ${quoted(said)} twice` : problemOf(name, isServiceEntry);
    if (message !== undefined) yield { at: place, message };
    seen.add(name);
  }
  const alone = ["*", "~"].find((name) => seen.has(name));
  if (alone !== undefined && countOf(spec["exportTo"]) > 1)
    yield { at, message: `exportTo ${quoted(alone)} stands alone` };
}

function problemOf(name: string, isServiceEntry: boolean): string | undefined {
  if (name === "~" && !isServiceEntry) return 'exportTo cannot be "~" (nobody) for this kind';
  if (places.has(name) || isNamespace.test(name)) return undefined;
  return `exportTo ${quoted(name)} is no name of a namespace, "." or "*"`;
}
const places: ReadonlySet<string> = new Set(["*", ".", "~"]);
const isNamespace = /^[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?$/;
