import type { Path } from "./read.ts";

const plain = /^[A-Za-z_][A-Za-z0-9_-]*$/;

/** Formats a path for users: `spec.http[0].route[1].weight`. Keys that are not identifiers are quoted. */
export function formatPath(path: Path): string {
  let text = "";
  for (const step of path) {
    if (typeof step === "number") text += `[${step}]`;
    else if (!plain.test(step)) text += `[${JSON.stringify(step)}]`;
    else text += text === "" ? step : `.${step}`;
  }
  return text;
}
