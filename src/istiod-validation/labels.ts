import type { Path } from "../kube/read.ts";
import { quoted } from "../text/printable.ts";
import { entriesOf, type Refused, textOf } from "./raw.ts";

const isValue = /^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/;
const label = "[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?";
const keyParts = new RegExp(`^(?:(${label}(?:\\.${label})*)/)?((?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$`);

/** Istio pkg/config/labels/instance.go Validate. */
export function* refusedLabels(labels: unknown, at: Path): Refused {
  for (const { key, value, at: place } of entriesOf(labels, at)) {
    const [, prefix = "", name] = keyParts.exec(key) ?? [];
    if (name === undefined || prefix.length > 253 || name.length > 63)
      yield { at: place, message: `${quoted(key)} is no key of a label` };
    if (!isValue.test(textOf(value))) yield { at: place, message: `${quoted(textOf(value))} is no value of a label` };
  }
}
