import type { Exception } from "./documents.ts";
import { endOf } from "./expiry.ts";
import { compileObjects, type ObjectPlace } from "./match.ts";
import { isGlob } from "../text/globs.ts";

/** A finding, as far as an exception can select it. */
export interface AcceptableFinding {
  readonly rule: string;
  readonly namespace: string;
  readonly object: ObjectPlace;
  /** Computed only if an exception selects findings by it; undefined: it is not one single finding. */
  fingerprint(): string | undefined;
}

/** The exceptions, indexed by namespace, rule and name of the object. */
export interface AcceptedFindings {
  readonly areAny: boolean;
  /** All exceptions that have not expired and select the finding, in the order of the documents. */
  of(finding: AcceptableFinding, now: Date): Iterable<Exception>;
}

interface Accepted {
  readonly exception: Exception;
  readonly place: number;
  readonly endsAt: number;
  selects(finding: AcceptableFinding): boolean;
}

interface OfRule {
  readonly byName: Map<string, Accepted[]>;
  readonly others: Accepted[];
}

/** An exception applies only in its own namespace, so that whoever may write there may accept findings there. */
export function acceptedFindings(exceptions: readonly Exception[]): AcceptedFindings {
  const byRule = new Map<string, OfRule>();
  for (const [place, exception] of exceptions.entries())
    for (const rule of exception.spec.rules) add(compiled(exception, place), `${exception.namespace} ${rule}`, byRule);
  return {
    areAny: exceptions.length > 0,
    *of(finding, now) {
      const { rule, namespace, object } = finding;
      const ofRule = byRule.get(`${namespace} ${rule}`);
      if (ofRule === undefined) return;
      const named = ofRule.byName.get(object.name) ?? [];
      const both = named.length === 0 ? ofRule.others : [...named, ...ofRule.others].sort((a, b) => a.place - b.place);
      for (const one of both) if (now.getTime() < one.endsAt && one.selects(finding)) yield one.exception;
    },
  };
}

function add(one: Accepted, key: string, byRule: Map<string, OfRule>): void {
  const ofRule = byRule.get(key) ?? { byName: new Map<string, Accepted[]>(), others: [] };
  byRule.set(key, ofRule);
  const names = one.exception.spec.match?.objects?.names;
  if (names === undefined || names.some(isGlob)) {
    ofRule.others.push(one);
    return;
  }
  for (const name of new Set(names)) {
    const there = ofRule.byName.get(name);
    if (there === undefined) ofRule.byName.set(name, [one]);
    else there.push(one);
  }
}

/** Of ten thousand exceptions, a reload changes one. */
const known = new WeakMap<Exception, Omit<Accepted, "place">>();

function compiled(exception: Exception, place: number): Accepted {
  let found = known.get(exception);
  if (found === undefined) known.set(exception, (found = compile(exception)));
  return { ...found, place };
}

function compile(exception: Exception): Omit<Accepted, "place"> {
  const { objects, fingerprints } = exception.spec.match ?? {};
  const isObject = compileObjects(objects);
  const wanted = fingerprints === undefined ? undefined : new Set(fingerprints);
  return {
    exception,
    endsAt: endOf(exception.expiresAt),
    selects: (finding) => isObject(finding.object) && (wanted === undefined || wanted.has(finding.fingerprint() ?? "")),
  };
}

const longestMs = 366 * 86_400_000;

/** Exceptions that end more than a year from now, so that hardly anybody will look at them again. */
export const longExceptions = (exceptions: readonly Exception[], now: Date): readonly Exception[] =>
  exceptions.filter(({ expiresAt }) => endOf(expiresAt) - now.getTime() > longestMs);
