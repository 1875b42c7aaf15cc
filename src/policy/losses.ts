import type { Labels } from "../kube/object.ts";
import { type Exception, type ExceptionLimits, everyRule, type PolicyDocument } from "./documents.ts";
import { keyOf } from "./document-text.ts";
import { endOf } from "./expiry.ts";
import { globs } from "../text/globs.ts";
import { ownershipOf } from "../mesh/traffic/host-ownership.ts";
import { lostModes, type RuleDefault } from "./lost-modes.ts";
import type { Policies } from "./policies.ts";

/**
 * What policies protect less after a reload than before it, one phrase for each loss; empty if nothing is lost. A
 * document that applies to some objects only is compared with what applies to all; where several such documents overlap,
 * the result can name a loss that another one makes up for, and it never leaves one out.
 */
export function lossesOf(before: Policies, after: Policies, rules: readonly RuleDefault[]): readonly string[] {
  const sides = { before, after };
  return [
    ...lostNamespaces(sides),
    ...lostHosts(sides),
    ...lostCustomRules(sides),
    ...lostModes(before, after, rules),
    ...lostLimits(sides),
    ...moreOf(sides, ({ spec }) => spec.reconcilers?.users, "counts as a reconciler"),
    ...moreOf(sides, ({ spec }) => spec.reconcilers?.fieldManagers, "counts as a reconciler by its field manager"),
    ...moreOf(sides, ({ spec }) => spec.breakGlass?.groups, "may break glass"),
    ...(before.reconcilerMode === "deny" && after.reconcilerMode === "warn"
      ? ["reconcilers are warned, and were denied"]
      : []),
    ...lostEnrollment(sides),
  ];
}

interface Sides {
  readonly before: Policies;
  readonly after: Policies;
}

function lostCustomRules({ before, after }: Sides): readonly string[] {
  const idsOf = ({ documents }: Policies) =>
    documents.flatMap(({ customRules = [] }) => customRules.map(({ id }) => id));
  const now = new Set(idsOf(after));
  return idsOf(before).flatMap((id) => (now.has(id) ? [] : [`${id}: the rule is gone`]));
}

/** A glob that matches another glob as a text matches all that the other one matches. */
function lostNamespaces({ before, after }: Sides): readonly string[] {
  const namesIn = (policies: Policies) =>
    policies.documents.flatMap(({ spec }) => spec.protectedNamespaces?.names ?? []);
  const now = new Set(namesIn(after));
  const selectors = new Set(after.protectedSelectors.map(shown));
  const names = namesIn(before).filter((name) => !now.has(name) && !after.protectsByName(name));
  const labels = before.protectedSelectors.map(shown).filter((selector) => !selectors.has(selector));
  return [
    ...[...new Set(names)].map((name) => `namespaces named ${name} are no longer protected by their name`),
    ...[...new Set(labels)].map(
      (selector) => `namespaces labelled ${selector} are no longer protected by these labels`,
    ),
  ];
}

/** Hosts that namespaces may use that might not before: by an entry that is gone, by a longer list or by a new narrower entry. */
function lostHosts({ before, after }: Sides): readonly string[] {
  if (before.hostOwners === after.hostOwners || before.hostOwners.length === 0) return [];
  const [owned, owns] = [ownershipOf(before.hostOwners), ownershipOf(after.hostOwners)];
  const hosts = new Set([...before.hostOwners, ...after.hostOwners].flatMap((entry) => entry.hosts));
  return [...hosts].flatMap((host) => {
    const was = owned.of(host);
    if (was === undefined) return [];
    const is = owns.of(host);
    if (is === undefined) return [`every namespace may use the host ${host}`];
    const known = globs(was.namespaces);
    const gained = is.namespaces.filter((name) => !known.names.includes(name) && !known.matches(name));
    return gained.map((name) => `namespaces named ${name} may use the host ${host}`);
  });
}

const shown = (labels: Labels): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .sort()
    .join(",");

/** Limits of exceptions that a document no longer sets, or sets less narrowly. */
function lostLimits({ before, after }: Sides): readonly string[] {
  const now = new Map(after.documents.map((document) => [keyOf(document), document.spec.exceptions]));
  return before.documents.flatMap((document) => {
    const { title, spec } = document;
    const is = now.get(keyOf(document)) ?? {};
    return spec.exceptions === undefined ? [] : widened(spec.exceptions, is).map((what) => `${title} ${what}`);
  });
}

function widened(was: ExceptionLimits, is: ExceptionLimits): readonly string[] {
  const known = globs(was.rules ?? [everyRule]);
  const more = (is.rules ?? [everyRule]).filter((id) => !known.names.includes(id) && !known.matches(id));
  const [days, daysBefore] = [is, was].map(({ maxDays = Number.POSITIVE_INFINITY }) => maxDays) as [number, number];
  const isOpened = was.mode === "deny" && is.mode !== "deny";
  const hasOthers = was.writers !== undefined && JSON.stringify(was.writers) !== JSON.stringify(is.writers);
  return [
    ...(isOpened ? ["allows exceptions, and did not"] : []),
    ...(more.length > 0 ? [`allows exceptions for ${more.join(", ")}`] : []),
    ...(days > daysBefore
      ? [`allows exceptions for ${Number.isFinite(days) ? days : "any number of"} days, and did for ${daysBefore}`]
      : []),
    ...(hasOthers ? ["names other writers of exceptions"] : []),
  ];
}

/** Names in a list that gives rights, which are new. */
function moreOf(
  { before, after }: Sides,
  read: (document: PolicyDocument) => readonly string[] | undefined,
  gains: string,
): readonly string[] {
  const known = new Set(before.documents.flatMap((document) => read(document) ?? []));
  const now = new Set(after.documents.flatMap((document) => read(document) ?? []));
  return [...now].filter((name) => !known.has(name)).map((name) => `${name} ${gains}`);
}

const enrolling = ["reconcile", "create", "off"] as const;

function lostEnrollment({ before, after }: Sides): readonly string[] {
  const modes = (policies: Policies) =>
    new Map(
      policies.documents.flatMap(({ title, spec }) => {
        const mode = spec.mutations?.namespaceAmbientEnrollment?.mode;
        return mode === undefined ? [] : [[`${title} ${JSON.stringify(spec.match)}`, { mode, title }] as const];
      }),
    );
  const now = modes(after);
  const lost: string[] = [];
  for (const [key, { mode, title }] of modes(before)) {
    const left = now.get(key)?.mode ?? "off";
    if (enrolling.indexOf(left) > enrolling.indexOf(mode))
      lost.push(`the enrollment of namespaces in ${title} is ${left}, and was ${mode}`);
  }
  const except = ({ spec }: PolicyDocument) => spec.mutations?.namespaceAmbientEnrollment?.except;
  return [...lost, ...moreOf({ before, after }, except, "is no longer enrolled")];
}

/** Findings that exceptions accept after a reload and did not before it, one phrase for each exception. */
export function moreAccepted(before: Policies, after: Policies): readonly string[] {
  const known = new Map(before.exceptions.map((exception) => [exception.title, exception]));
  return after.exceptions.flatMap((exception) => {
    const was = known.get(exception.title);
    if (was === exception || (was !== undefined && !isWider(was, exception))) return [];
    return [`${exception.title} accepts ${exception.spec.rules.join(", ")} until ${exception.expiresAt}`];
  });
}

const isWider = (before: Exception, after: Exception): boolean =>
  JSON.stringify(before.spec.match) !== JSON.stringify(after.spec.match) ||
  after.spec.rules.some((rule) => !before.spec.rules.includes(rule)) ||
  endOf(after.expiresAt) > endOf(before.expiresAt);
