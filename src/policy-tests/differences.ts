import { isObject } from "../kube/read.ts";
import type { Difference } from "../report/test-report.ts";
import { listed } from "../text/phrases.ts";
import type { CaseOutcome } from "./run-case.ts";
import { unheldIn } from "./stated-requests.ts";
import type { Expectation } from "./test-file.ts";

/** What is not as expected, each with the field of `expect`. Empty: the case passes. */
export function differencesOf(expect: Expectation, outcome: CaseOutcome): readonly Difference[] {
  const { allowed, deniedBy, warnedBy, acceptedBy, message = [], patchedTo, holds, heldBefore } = expect;
  // Rules that deny say so; a second line would add nothing.
  const isAllowed = allowed ?? (deniedBy === undefined ? undefined : false);
  return [
    ...(isAllowed === undefined || isAllowed === outcome.allowed
      ? []
      : [{ what: "allowed", expected: [String(isAllowed)], found: [String(outcome.allowed)] }]),
    ...unlike("deniedBy", deniedBy, outcome.deniedBy),
    ...unlike("warnedBy", warnedBy, outcome.warnedBy),
    ...unlike("acceptedBy", acceptedBy, outcome.acceptedBy),
    ...message
      .filter((part) => !outcome.messages.some((text) => text.includes(part)))
      .map((part) => ({ what: "message", expected: [part], found: [] })),
    ...unpatched(patchedTo, outcome),
    ...unheldIn("heldBefore", heldBefore, outcome.before),
    ...unheldIn("holds", holds, outcome.mesh),
  ];
}

/** Lists are compared as sets: only what is missing on one side is listed. */
function unlike(what: string, wanted: readonly string[] | undefined, got: readonly string[]): readonly Difference[] {
  if (wanted === undefined) return [];
  const expected = wanted.filter((one) => !got.includes(one));
  const found = got.filter((one) => !wanted.includes(one));
  return expected.length + found.length === 0 ? [] : [{ what, expected, found }];
}

/** Some stored object has to contain the expected part; the one that lacks the least is shown. */
function unpatched(wanted: Expectation["patchedTo"], { stored }: CaseOutcome): readonly Difference[] {
  if (wanted === undefined) return [];
  if (stored.length === 0) return [{ what: "patchedTo", expected: [shown(wanted)], found: ["nothing is stored"] }];
  const lacks = stored.map((object) => lacking(wanted, object, ""));
  const least = lacks.reduce((a, b) => (b.length < a.length ? b : a));
  return least.length === 0
    ? []
    : [{ what: "patchedTo", expected: least.map(({ expected }) => expected), found: least.map(({ found }) => found) }];
}

interface Lack {
  readonly expected: string;
  readonly found: string;
}

/** The fields that an object has to have and has not. Lists are compared as a whole. */
function lacking(wanted: unknown, got: unknown, path: string): readonly Lack[] {
  if (isObject(wanted) && isObject(got))
    return Object.entries(wanted).flatMap(([name, value]) =>
      lacking(value, Object.hasOwn(got, name) ? got[name] : undefined, step(path, name)),
    );
  const [a, b] = [shown(wanted), shown(got)];
  return a === b ? [] : [{ expected: `${path}: ${a}`, found: `${path}: ${b}` }];
}

const step = (path: string, name: string): string => {
  const key = /^[\w-]+$/.test(name) ? name : `[${JSON.stringify(name)}]`;
  return path === "" || key.startsWith("[") ? `${path}${key}` : `${path}.${key}`;
};

/** JSON with sorted keys, so that the order of fields does not matter. */
function shown(value: unknown): string {
  if (value === undefined) return "nothing";
  return JSON.stringify(value, (_key, one: unknown) =>
    isObject(one) ? Object.fromEntries(Object.entries(one).sort(([a], [b]) => (a < b ? -1 : 1))) : one,
  );
}

/** What a decision was, in one line. */
export function outcomeLine(outcome: CaseOutcome): string {
  const { isChange, allowed, deniedBy, warnedBy, acceptedBy, patchedBy } = outcome;
  if (!isChange) return "nothing is changed";
  const parts = [
    allowed ? "allowed" : deniedBy.length > 0 ? `denied by ${listed(deniedBy, "and")}` : "denied",
    ...(warnedBy.length > 0 ? [`warned by ${listed(warnedBy, "and")}`] : []),
    ...(acceptedBy.length > 0 ? [`accepted by MeshwardException ${listed(acceptedBy, "and")}`] : []),
    ...(patchedBy.length > 0 ? [`changed by ${listed(patchedBy, "and")}`] : []),
  ];
  return parts.join("; ");
}
