import { rulesOf } from "../authorization/requests/applied.ts";
import type { Attribute } from "../authorization/requests/attributes.ts";
import type { Box, Clause } from "../authorization/requests/boxes.ts";
import type { Clauses } from "../authorization/requests/matches.ts";
import { Lists, ListsBeyond } from "../authorization/requests/lists.ts";
import { anything, exactly } from "../authorization/requests/patterns.ts";
import { Texts } from "../authorization/requests/texts.ts";
import { absent } from "../authorization/requests/values.ts";
import type { Work } from "../authorization/requests/work.ts";
import type { Guard } from "./enforcement.ts";
import type { HeaderChanges } from "./header-changes.ts";
import { PathChange } from "./path-change.ts";
import type { Rewrite } from "./route-effects.ts";

/**
 * How requests appear at a server that sees them otherwise than their callers send them: with another identity, or none, with
 * the port of the pod, with a path that a route rewrote.
 */
export class ServerView {
  /** What all requests have there. */
  readonly #fixed: Clauses;
  /** What may be anything there, whatever the callers send. */
  readonly #open: ReadonlySet<Attribute>;
  readonly #replaced: ReadonlySet<Attribute>;
  /** The beginning that routes gave to paths; undefined: they left it, or the path is fixed or open. */
  readonly #path: PathChange | undefined;

  constructor(fixed: Clauses = [], open: Iterable<Attribute> = [], path?: PathChange) {
    this.#path = path;
    this.#fixed = fixed;
    this.#open = new Set(open);
    this.#replaced = new Set([...this.#open, ...fixed.map(({ attribute }) => attribute)]);
  }

  with(fixed: Clauses, open: Iterable<Attribute> = []): ServerView {
    const changed = new Set([...open, ...fixed.map(({ attribute }) => attribute)]);
    const kept = this.#fixed.filter(({ attribute }) => !changed.has(attribute));
    const stillOpen = [...this.#open].filter((attribute) => !changed.has(attribute));
    return new ServerView([...kept, ...fixed], [...stillOpen, ...open], changed.has("path") ? undefined : this.#path);
  }

  /** With another beginning of paths, which have this one here. */
  withBeginning(from: string, to: string): ServerView {
    if (this.isOpen("path")) return this;
    const text = this.textOf("path");
    if (text !== undefined) return this.with([only("path", to + text.slice(from.length))]);
    const path = this.#path === undefined ? new PathChange(from, to) : this.#path.followedBy(from, to);
    return path === undefined ? this.with([], ["path"]) : new ServerView(this.#fixed, this.#open, path);
  }

  /** The only text that an attribute has there, whatever the callers send; undefined: it is as they send it, or it is not known. */
  textOf(attribute: Attribute): string | undefined {
    const fixed = this.#fixed.filter((one) => one.attribute === attribute && !one.not);
    for (const { values } of fixed) if (values instanceof Texts) return onlyText(values);
    return undefined;
  }

  /** Whether an attribute may be anything there, whatever the callers send. */
  isOpen(attribute: Attribute): boolean {
    return this.#open.has(attribute);
  }

  /** Whether no request has a token there, whatever the callers send. */
  get isWithoutToken(): boolean {
    return this.#fixed.some(({ attribute, values, not }) => attribute === "token" && values === absent && !not);
  }

  /** The requests as the server sees them; undefined: there are none. */
  seen(box: Box, work: Work): Box | undefined {
    const left = box.without(
      (attribute) => this.#replaced.has(attribute) || (attribute === "path" && this.#path !== undefined),
    );
    const paths = this.#path?.seen(box.clauses.filter(isOfPath)) ?? [];
    return left.withAll([...this.#fixed, ...paths], work);
  }

  /**
   * The requests of a box that appear in a part of what the server sees; undefined: none do. `isCertain`: they are exactly these;
   * otherwise it is not known whether they are in the part.
   */
  sent(box: Box, part: Box, work: Work): { readonly box: Box; readonly isCertain: boolean } | undefined {
    const clauses = part.clauses;
    const same = clauses.filter(({ attribute }: Clause) => !this.#replaced.has(attribute));
    const path = this.#path;
    const own =
      path === undefined ? same : [...same.filter((one) => !isOfPath(one)), ...path.sent(same.filter(isOfPath))];
    const sent = box.withAll(own, work);
    return sent && { box: sent, isCertain: !clauses.some(({ attribute }) => this.#open.has(attribute)) };
  }
}

/** What a route changes of requests to one destination. */
interface Changes {
  readonly rewrite: Rewrite | undefined;
  readonly headers: HeaderChanges | undefined;
}

/** What a server sees after these changes. */
export function rewritten(view: ServerView, { rewrite, headers }: Changes): ServerView {
  if (rewrite === undefined && headers === undefined) return view;
  const authority = rewrite?.authority || headers?.authority;
  const host = authority ? [only("host", authority.toLowerCase())] : [];
  return withHeaders(withPath(view.with(host), rewrite?.path), headers);
}

const isOfPath = ({ attribute }: Clause): boolean => attribute === "path";
const only = (attribute: Attribute, text: string): Clause => ({ attribute, values: new Texts([[text]]), not: false });

function withPath(view: ServerView, path: Rewrite["path"]): ServerView {
  if (path === undefined) return view;
  if (path === "unknown") return view.with([], ["path"]);
  const { to, prefix } = path;
  return prefix === undefined ? view.with([only("path", to)]) : view.withBeginning(prefix, to);
}

function withHeaders(view: ServerView, changes: HeaderChanges | undefined): ServerView {
  const fixed: Clause[] = [];
  const open: Attribute[] = [];
  for (const [name, value] of changes?.headers ?? []) {
    const attribute = `header ${name}` as const;
    if (value === "unknown") open.push(attribute);
    else fixed.push(...ofHeader(attribute, value));
    // Which other headers tokens are read from is not known here.
    if (name === "authorization") open.push("token");
  }
  return fixed.length + open.length === 0 ? view : view.with(fixed, open);
}

function ofHeader(attribute: Attribute, value: "absent" | { readonly is: string }): readonly Clause[] {
  if (value === "absent") return [{ attribute, values: anyElement, not: true }];
  const wanted = new Lists([exactly(value.is)]);
  return [
    { attribute, values: wanted, not: false },
    { attribute, values: new ListsBeyond(wanted), not: true },
  ];
}

const onlyText = ({ exact, patterns }: Texts): string | undefined =>
  exact.size === 1 && patterns.length === 0 ? [...exact.values()][0]?.[0] : undefined;

const anyElement = new Lists([anything]);
interface Tokens {
  /** The claims that the policies ask for. */
  readonly claims: readonly Attribute[];
  /** What requests have that have no token. */
  readonly none: Clauses;
  /** Whether a policy asks for tokens, or for claims. */
  readonly areAsked: boolean;
}
const tokensRead = new WeakMap<Guard, Tokens>();

function tokensOf(guard: Guard): Tokens {
  let found = tokensRead.get(guard);
  if (found === undefined) {
    const { enforcement } = guard;
    const applied =
      enforcement === undefined ? [] : [enforcement.applied, ...(enforcement.custom ? [enforcement.custom] : [])];
    const matches = applied.flatMap(rulesOf).flatMap(({ allow, deny }) => [...allow, ...deny]);
    const asked = matches
      .flatMap(({ match: { sources, conditions } }) => [...sources.flat(), ...conditions])
      .map(({ attribute }) => attribute);
    const claims = new Set(asked.filter((attribute) => attribute.startsWith("claim ")));
    // Without a token there are no claims.
    const none = [noToken, ...[...claims].map((attribute) => ({ attribute, values: anyElement, not: true }))];
    const areAsked = claims.size > 0 || asked.includes("token");
    tokensRead.set(guard, (found = { claims: [...claims], none, areAsked }));
  }
  return found;
}

/** The conditions of requests without a token, which have no claims that a guard asks for. */
export const withoutToken = (guard: Guard): Clauses => tokensOf(guard).none;

/**
 * What a guard sees: no tokens, if it does not read them, or if a proxy before it removed them; anything in them, if a route replaced
 * them. A header that it writes from tokens is not what the caller sent.
 */
export function atGuard(view: ServerView, guard: Guard, fixed: Clauses): ServerView {
  const { isRead, hasOwnPlaces } = guard.tokens;
  const { none, claims } = tokensOf(guard);
  if (!isRead) return view.with([...fixed, ...none]);
  const written = headersWritten(guard);
  const isRemoved = view.isWithoutToken;
  if (isRemoved && !hasOwnPlaces) return view.with([...fixed, ...none], written);
  if (isRemoved) return view.with(fixed, ["token", ...claims, ...written]);
  return view.with(fixed, [...(view.isOpen("token") ? claims : []), ...written]);
}

/** What follows a guard sees: without the tokens that it has validated, unless it passes them on, and with headers that it writes. */
export function pastGuard(view: ServerView, guard: Guard): ServerView {
  const { isRead, passedOn } = guard.tokens;
  if (!isRead || guard.enforcement?.applied.place !== "http") return view;
  const written = headersWritten(guard);
  if (passedOn === "kept") return view.with([], written);
  return passedOn === "removed" ? view.with([noToken], written) : view.with([], ["token", ...written]);
}

/** Why policies that ask for tokens find none, if that is so; undefined: it is not. */
export const lostToken = (view: ServerView, guard: Guard): string | undefined =>
  view.isWithoutToken && guard.tokens.isRead && tokensOf(guard).areAsked ? tokenRemoved : undefined;
const tokenRemoved =
  "a gateway or a waypoint before it has validated the token and removed it, as no forwardOriginalToken says otherwise";

const noToken: Clause = { attribute: "token", values: absent, not: false };
const headersWritten = ({ tokens }: Guard): readonly Attribute[] =>
  tokens.headers.map((name) => `header ${name}` as const);
