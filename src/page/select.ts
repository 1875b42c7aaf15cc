import type { PageData, PageFinding } from "../report/page-data.ts";
import type { State } from "./state.ts";

/** What the search looks into, in lower case, computed once. */
const texts = new WeakMap<PageFinding, string>();

function textOf(finding: PageFinding): string {
  let text = texts.get(finding);
  if (text === undefined) {
    const { rule, kind, namespace, name, path, message, place } = finding;
    text = [rule, kind, `${namespace}/${name}`, path, message, place].join("\n").toLowerCase();
    texts.set(finding, text);
  }
  return text;
}

export const modeOf = ({ mode, exception }: PageFinding): string => (exception === undefined ? mode : "accepted");

/** The findings that the filters let through. Every word of the search must occur. */
export function selected({ findings }: PageData, state: State): readonly PageFinding[] {
  const words = state.text
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");
  return findings.filter((finding) => {
    if (!state.modes.includes(modeOf(finding))) return false;
    if (state.namespace !== "" && finding.namespace !== state.namespace) return false;
    if (state.rule !== "" && finding.rule !== state.rule) return false;
    return words.every((word) => textOf(finding).includes(word));
  });
}

export interface Counts {
  readonly deny: number;
  readonly warn: number;
  readonly audit: number;
}

/** The findings of each namespace, without accepted ones. */
export function countsByNamespace(findings: readonly PageFinding[]): ReadonlyMap<string, Counts> {
  const counts = new Map<string, { deny: number; warn: number; audit: number }>();
  for (const { namespace, mode, exception } of findings) {
    if (exception !== undefined) continue;
    let of = counts.get(namespace);
    if (of === undefined) counts.set(namespace, (of = { deny: 0, warn: 0, audit: 0 }));
    of[mode]++;
  }
  return counts;
}

export const noCounts: Counts = { deny: 0, warn: 0, audit: 0 };

/** The most severe mode that occurs. */
export const worstOf = ({ deny, warn, audit }: Counts): "deny" | "warn" | "audit" | "none" =>
  deny > 0 ? "deny" : warn > 0 ? "warn" : audit > 0 ? "audit" : "none";
