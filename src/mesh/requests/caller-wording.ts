import type { MeshSettings } from "../../view/settings.ts";
import type { Box, Clause } from "../authorization/requests/boxes.ts";
import { isMet } from "../authorization/requests/difference.ts";
import { trustDomainsOf } from "../authorization/requests/identities.ts";
import type { RequestSet } from "../authorization/requests/sets.ts";
import { Texts } from "../authorization/requests/texts.ts";
import { absent } from "../authorization/requests/values.ts";
import { writtenClause } from "../authorization/requests/written.ts";
import type { WordingLimits } from "./set-wording.ts";

/** The service accounts that are known in each namespace, by which a long list can be one phrase. */
export type KnownAccounts = ReadonlyMap<string, ReadonlySet<string>>;

/** What callers in words depend on. */
export interface CallerWording {
  readonly settings: MeshSettings;
  readonly known: KnownAccounts;
  /** Service accounts, as `namespace/name`, all of whose pods are outside the mesh, so that no caller has their identity now. */
  readonly withoutCertificate: ReadonlySet<string>;
  readonly limits: WordingLimits;
}

/** Callers by name, for programs. `accounts` are `namespace/name`; `patterns` are principals with `*`, or of a foreign trust domain. */
export interface CallerNames {
  readonly accounts: readonly string[];
  readonly namespaces: readonly string[];
  readonly patterns: readonly string[];
}

/** One alternative of a set of callers. */
export interface WrittenCallers extends CallerNames {
  /**
   * - `named`: those that are listed.
   * - `mesh`: everybody with a certificate of the mesh, but those that are listed in `but`.
   * - `outside`: callers without a certificate.
   * - `all`: both of these, but those in `but`.
   */
  readonly kind: "named" | "mesh" | "outside" | "all";
  /** Lists that name these callers too; empty, unless two lists overlap in part. */
  readonly also: readonly CallerNames[];
  readonly but: CallerNames;
}

/** The alternatives of a set of callers, which has conditions about identities only. */
export function writtenCallers(callers: RequestSet, settings: MeshSettings): readonly WrittenCallers[] {
  return callers.map((box) => writtenCaller(box, settings));
}

function writtenCaller({ clauses }: Box, settings: MeshSettings): WrittenCallers {
  const hasAbsent = (not: boolean) => clauses.some((clause) => clause.values === absent && clause.not === not);
  const lists = exactly(clauses.filter(({ values }) => values !== absent)).map(writtenClause);
  const [first, ...also] = lists.filter(({ not }) => !not).map(({ values }) => namesOf(values, settings));
  const excluded = lists.filter(({ not }) => not).flatMap(({ values }) => values);
  const but = namesOf(excluded, settings);
  if (hasAbsent(false)) return { kind: "outside", ...nobody, also: [], but: nobody };
  if (first !== undefined) return { kind: "named", ...first, also, but };
  return { kind: hasAbsent(true) ? "mesh" : "all", ...nobody, also: [], but };
}

const nobody: CallerNames = { accounts: [], namespaces: [], patterns: [] };

/** If one list names all callers exactly, those of it that meet the other conditions. */
function exactly(clauses: readonly Clause[]): readonly Clause[] {
  const named = clauses.find(({ values, not }) => !not && values instanceof Texts && values.patterns.length === 0);
  if (named === undefined || !(named.values instanceof Texts)) return clauses;
  const all = [...named.values.exact.values()];
  const left = all.filter((identity) => isMet(clauses, new Map([["identity", identity]])));
  return [{ ...named, values: new Texts(left) }];
}

function namesOf(identities: readonly string[], settings: MeshSettings): CallerNames {
  const own = new Set(["*", "cluster.local", ...trustDomainsOf(settings)]);
  const names = Map.groupBy(
    identities.map((identity) => nameOf(identity, own)),
    ({ list }) => list,
  );
  const of = (list: keyof CallerNames) => [...new Set(names.get(list)?.map(({ name }) => name))].sort();
  return { accounts: of("accounts"), namespaces: of("namespaces"), patterns: of("patterns") };
}

function nameOf(
  identity: string,
  own: ReadonlySet<string>,
): { readonly list: keyof CallerNames; readonly name: string } {
  const [, domain = "", namespace = "", account = ""] = /^(.*?)\/ns\/(.*)\/sa\/(.*)$/.exec(identity) ?? [];
  if (!own.has(domain) || namespace.includes("*")) return { list: "patterns", name: identity };
  if (account === "*") return { list: "namespaces", name: namespace };
  if (account.includes("*")) return { list: "patterns", name: identity };
  return { list: "accounts", name: `${namespace}/${account}` };
}

/** Callers in words: `orders/api, namespace web`, `everybody in the mesh but orders/api`, `outside the mesh`. */
export function formatCallers(callers: RequestSet, wording: CallerWording): string {
  const shown = writtenCallers(callers, wording.settings).map((one) => formatAlternative(one, wording));
  return shown.length === 0 ? "nobody" : shown.join("; ");
}

function formatAlternative({ kind, also, but, ...names }: WrittenCallers, wording: CallerWording): string {
  const excepted = formatNames(but, { ...wording, withoutCertificate: new Set() });
  const exception = excepted === "" ? "" : ` but ${excepted}`;
  if (kind !== "named") return `${collective[kind]}${exception}`;
  return `${[names, ...also].map((one) => formatNames(one, wording)).join(" and also of ")}${exception}`;
}
const collective = { mesh: "everybody in the mesh", outside: "outside the mesh", all: "everybody" } as const;

/** Namespaces first. All known service accounts of a namespace are one phrase. */
function formatNames(
  { accounts, namespaces, patterns }: CallerNames,
  { known, withoutCertificate, limits }: CallerWording,
): string {
  const byNamespace = Map.groupBy(accounts, (account) => account.slice(0, account.indexOf("/")));
  const ofAccounts = [...byNamespace].flatMap(([namespace, own]) => {
    const all = known.get(namespace);
    const isWhole =
      own.length > fewAccounts && all !== undefined && own.length >= all.size && isEach(all, namespace, own);
    if (isWhole) return [`all ${all.size} service accounts of ${namespace}`];
    return own.map((account) =>
      withoutCertificate.has(account) ? `${account} (no pod of it has a certificate)` : account,
    );
  });
  const parts = [
    ...(namespaces.length === 0
      ? []
      : [`${namespaces.length === 1 ? "namespace" : "namespaces"} ${first(namespaces, limits)}`]),
    ...(ofAccounts.length === 0 ? [] : [first(ofAccounts, limits)]),
    ...(patterns.length === 0 ? [] : [`principals ${first(patterns, limits)}`]),
  ];
  return parts.join(", ");
}

/** So many service accounts are listed by name, even if they are all. */
const fewAccounts = 2;

function isEach(known: ReadonlySet<string>, namespace: string, accounts: readonly string[]): boolean {
  const named = new Set(accounts);
  return [...known].every((account) => named.has(`${namespace}/${account}`));
}

function first(names: readonly string[], { values }: WordingLimits): string {
  const more = names.length - values;
  return more > 0 ? `${names.slice(0, values).join(", ")} and ${more} more` : names.join(", ");
}
