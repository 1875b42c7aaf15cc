import type { MeshSettings } from "../../../view/settings.ts";
import { Addresses, isIPv6 } from "./addresses.ts";
import { type Attribute, findValue } from "./attributes.ts";
import type { Clause } from "./boxes.ts";
import type { Clauses, Match } from "./matches.ts";
import type { Ruled } from "./policies.ts";
import type { Pattern } from "./patterns.ts";
import { Texts } from "./texts.ts";
import { absent, type Value } from "./values.ts";
import { Undecided, Work } from "./work.ts";

/**
 * Ordinary requests that no policy names: each of these methods, for a path of one and of two segments that occurs in no
 * policy. One bit for each of them.
 */
const methods: readonly Value[] = ["GET", "POST", "PUT", "PATCH", "DELETE"].map((method) => [method]);
/** Stands for a word that occurs in no policy. No caller and no request has it. */
export const unheardOf = "\u{e000}";
const paths: readonly Value[] = [[`/${unheardOf}`], [`/${unheardOf}/${unheardOf}`]];
export const everyOrdinary = (1 << (methods.length * paths.length)) - 1;

/** Ordinary requests by their caller. */
export interface Ordinary {
  /**
   * Of callers without an identity and without a token, whose addresses no policy names: one element for each combination of
   * families of their own address and of the address that they are forwarded for. Empty: no requests.
   */
  readonly strangers: readonly number[];
  /** Of a workload of the mesh that no policy names. */
  readonly mesh: number;
  /** Of workloads whose names start and end with one letter or digit, one element for each. */
  readonly lettered: readonly number[];
}

export const noOrdinary: Ordinary = { strangers: [], mesh: 0, lettered: [] };

export const unite = (a: Ordinary, b: Ordinary): Ordinary => {
  if (a === noOrdinary) return b;
  if (b === noOrdinary) return a;
  const [strangers, lettered] = [orEach(a.strangers, b.strangers), orEach(a.lettered, b.lettered)];
  return { strangers, mesh: a.mesh | b.mesh, lettered };
};
function orEach(a: readonly number[], b: readonly number[]): readonly number[] {
  const [long, short] = a.length < b.length ? [b, a] : [a, b];
  return short.length === 0 ? long : long.map((bits, i) => bits | (short[i] ?? 0));
}

/** How many letters or digits make a list of patterns everybody. */
const most = 26;

/** Whether some callers without an identity may send every ordinary request. */
export const isForEveryone = ({ strangers }: Ordinary): boolean => strangers.includes(everyOrdinary);
/** Whether they are all ordinary requests of all callers without an identity. */
export const isOfEveryone = ({ strangers }: Ordinary): boolean =>
  strangers.length > 0 && strangers.every((bits) => bits === everyOrdinary);
/** Whether workloads of the mesh may send every ordinary request, whatever they are called. */
export const isForMesh = ({ mesh, lettered }: Ordinary): boolean =>
  mesh === everyOrdinary || lettered.filter((bits) => bits === everyOrdinary).length >= most;

/**
 * The ordinary requests that a rule matches. Values of a rule that does not allow leave nobody unnamed out: with `not`, they
 * are exceptions by name.
 */
export function ordinaryOf({ policy, match }: Ruled, settings: MeshSettings): Ordinary {
  const isAllow = (policy.spec.action ?? "ALLOW") === "ALLOW";
  const reader = new OrdinaryReader(isAllow, callersOf(match, settings));
  return reader.of(match);
}

/** One value of each attribute of the caller. */
type Caller = ReadonlyMap<Attribute, Value>;

const addresses = ["198.18.0.1", "2001:db8:ffff::1"].map((text) => Addresses.of(text).ranges[0]?.first);
const strangers: readonly Caller[] = addresses.flatMap((direct) =>
  addresses.map(
    (original) =>
      new Map<Attribute, Value>([
        ["source.ip", direct],
        ["remote.ip", original],
      ]),
  ),
);
const letters = "abcdefghijklmnopqrstuvwxyz0123456789".split("");
const ofMesh = (trustDomain: string, name: string): Caller =>
  new Map([...(strangers[0] ?? []), ["identity", [trustDomain, name, name]]]);

/** The callers for one trust domain: without those that are named after letters, and all of them. */
const callers = new Map<string, { readonly few: readonly Caller[]; readonly all: readonly Caller[] }>();

/** Letters matter only if a rule has a pattern with hardly any text, of which it, or several rules, may have one for each. */
function callersOf({ sources, conditions }: Match, { trustDomain }: MeshSettings): readonly Caller[] {
  let known = callers.get(trustDomain);
  if (known === undefined) {
    const few = [...strangers, ofMesh(trustDomain, unheardOf)];
    const all = [...few, ...letters.map((letter) => ofMesh(trustDomain, letter + unheardOf + letter))];
    // There are as many trust domains as meshes.
    if (callers.size > 10) callers.clear();
    callers.set(trustDomain, (known = { few, all }));
  }
  for (const clauses of [...sources, conditions])
    for (const { attribute, values, not } of clauses)
      if (attribute === "identity" && !not && values instanceof Texts && values.patterns.some(isShort))
        return known.all;
  return known.few;
}

/** In characters: `a*` and `*-a` are short, and `web*` names somebody. */
const mostOfShort = 2;
const isShort = (parts: readonly Pattern[]): boolean =>
  parts.some(({ literals }) => {
    const length = literals.reduce((sum, text) => sum + text.length, 0);
    return length > 0 && length <= mostOfShort;
  });

class OrdinaryReader {
  readonly #isAllow: boolean;
  readonly #callers: readonly Caller[];

  constructor(isAllow: boolean, callers: readonly Caller[]) {
    this.#isAllow = isAllow;
    this.#callers = callers;
  }

  of({ sources, operations, conditions }: Match): Ordinary {
    const ofRequests = conditions.filter(isOfRequest);
    let all = 0;
    for (const clauses of operations)
      all |= this.#requests(ofRequests.length === 0 ? clauses : [...clauses, ...ofRequests]);
    if (all === 0) return noOrdinary;
    const common = conditions.filter((clause) => !isOfRequest(clause));
    const bits = this.#callers.map((caller) =>
      this.#isMet(common, caller) &&
      sources.some((source) => this.#isMet(common.length === 0 ? source : [...source, ...common], caller))
        ? all
        : 0,
    );
    if (bits.every((one) => one === 0)) return noOrdinary;
    const [mesh = 0, ...lettered] = bits.slice(strangers.length);
    return { strangers: bits.slice(0, strangers.length), mesh, lettered };
  }

  #requests(clauses: Clauses): number {
    const others = clauses.filter(({ attribute }) => attribute !== "method" && attribute !== "path");
    if (!this.#isMet(others, usual)) return 0;
    const ofPaths = clauses.filter(isAbout("path"));
    const ofMethods = clauses.filter(isAbout("method"));
    let matched = 0;
    for (const [i, path] of paths.entries()) if (this.#isMatched(ofPaths, path)) matched |= 1 << i;
    if (matched === 0) return 0;
    let all = 0;
    for (const [i, method] of methods.entries())
      if (ofMethods.every(({ values, not }) => values.has(method) !== not)) all |= matched << (i * paths.length);
    return all;
  }

  #isMet(clauses: Clauses, request: ReadonlyMap<string, Value>): boolean {
    let isExcluded = false;
    for (const { attribute, values, not } of clauses) {
      if (values.has(request.get(attribute)) !== not) continue;
      if (!not) return false;
      isExcluded = true;
    }
    return !isExcluded || this.#isMetByOthers(clauses, request);
  }

  /** Whether the conditions match other values that no policy names. */
  #isMetByOthers(clauses: Clauses, request: ReadonlyMap<string, Value>): boolean {
    if (!this.#isAllow) return false;
    const byAttribute = Map.groupBy(clauses, ({ attribute }) => attribute);
    return [...byAttribute].every(([attribute, some]) => this.#isMatched(some, request.get(attribute)));
  }

  /** Whether the conditions about one attribute match a value that no policy names. */
  #isMatched(clauses: Clauses, value: Value): boolean {
    if (clauses.length === 0) return true;
    const [excluded, required] = [clauses.filter(({ not }) => not), clauses.filter(({ not }) => !not)];
    if (!required.every(({ values }) => values.has(value))) return false;
    if (!excluded.some(({ values }) => values.has(value))) return true;
    return this.#isAllow && value !== undefined && isAnyLeft(required, excluded, value);
  }
}

const isAbout =
  (attribute: Attribute) =>
  (clause: Clause): boolean =>
    clause.attribute === attribute;
const ofCallers: ReadonlySet<string> = new Set(["identity", "token", "source.ip", "remote.ip"]);
const isOfRequest = ({ attribute }: Clause): boolean => !ofCallers.has(attribute) && !attribute.startsWith("claim ");

/** Headers that every client sends or every proxy adds, and attributes that a policy cannot know. */
const usual: ReadonlyMap<string, Value> = new Map<string, Value>([
  ["host", [`${unheardOf}.example`]],
  ["port", [unheardOf]],
  ["destination.ip", Addresses.of("198.18.0.9").ranges[0]?.first],
  ...[":authority", ":path", ":scheme", "host", "user-agent", "accept", "x-request-id", "x-forwarded-proto"].map(
    (name) => [`header ${name}`, [unheardOf]] as const,
  ),
]);

/** Whether values are left beside those that are left out, even the value that stands for all others. */
function isAnyLeft(required: Clauses, excluded: Clauses, value: Value): boolean {
  const [first] = excluded;
  if (first === undefined) return true;
  const family = typeof value === "bigint" ? [isIPv6(value) ? allOfIPv6 : allOfIPv4] : [];
  const valuesOf = (clauses: Clauses) => clauses.map(({ values }) => values);
  const work = new Work(20_000);
  try {
    return (
      findValue(first.attribute, [...valuesOf(required), ...family], [...valuesOf(excluded), absent], work) !==
      undefined
    );
  } catch (error) {
    if (error instanceof Undecided) return true;
    throw error;
  }
}
const [allOfIPv4, allOfIPv6] = [Addresses.of("0.0.0.0/0"), Addresses.of("::/0")];
