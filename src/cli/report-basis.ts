import packageJson from "../../package.json" with { type: "json" };
import type { Rule } from "../engine/rule.ts";
import type { PolicySelection, Settings } from "../engine/setting.ts";
import { allSubjects } from "../engine/subjects.ts";
import { allKinds, type Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import type { Policies } from "../policy/policies.ts";
import { type Basis, type Report, withoutObjects } from "../report/report.ts";
import type { Mesh } from "../view/view.ts";

type Skipped = Report["skipped"][number];

interface Examined {
  readonly rules: readonly Rule[];
  readonly profile: string;
  /** The project file with settings, if there is one. */
  readonly settingsFile?: string | undefined;
  readonly policies: Policies;
  readonly selection: PolicySelection;
  /** The mesh after the change. */
  readonly mesh: Mesh;
  /** The number of checked objects of each kind. */
  readonly objects: Readonly<Record<string, number>>;
  /** Rules that could not run at all; they are reported elsewhere. */
  readonly skipped: ReadonlySet<string>;
}

/** What a report is about. */
export function basisOf({ rules, policies, selection, mesh, skipped, settingsFile, ...given }: Examined): Basis {
  const settings = selection.between(mesh, mesh);
  const protectedNamespaces = namesOfProtected(mesh, policies);
  const idle = rules.flatMap((rule) => {
    const reason = skipped.has(rule.id) ? undefined : idleness(rule, mesh, settings);
    return reason === undefined ? [] : [{ rule: rule.id, reason }];
  });
  return {
    version: packageJson.version,
    time: new Date().toISOString(),
    profile: given.profile,
    ...(settingsFile === undefined ? {} : { settingsFile }),
    policies: titlesOf(policies),
    exceptions: policies.exceptions.length,
    protectedNamespaces,
    objects: given.objects,
    idle,
  };
}

/** The titles of the documents in force, without those of the profile. */
export const titlesOf = ({ documents }: Policies): readonly string[] =>
  documents.map(({ title }) => title).filter((title) => !title.startsWith("profile "));

function namesOfProtected(mesh: Mesh, policies: Policies): readonly string[] {
  const names: string[] = [];
  for (const { metadata } of mesh.all("Namespace"))
    if (policies.protectsByName(metadata.name) || policies.protectsByLabels(metadata.labels)) names.push(metadata.name);
  return names.sort();
}

/** Why a rule had nothing to check; undefined: it had. */
function idleness(rule: Rule, mesh: Mesh, settings: Settings): string | undefined {
  let [isAny, isOnlyProtection] = [false, false];
  for (const subject of allSubjects(rule, mesh)) {
    const { mode, ifProtected } = settings.of(rule, subject);
    if (mode !== "off") return undefined;
    isAny = true;
    isOnlyProtection ||= ifProtected !== undefined && ifProtected !== "off";
  }
  if (!isAny) return withoutObjects;
  return isOnlyProtection ? "only for protected namespaces" : "turned off by the policies";
}

/** What to do about rules that cannot be asked; undefined: they can. */
interface Advice {
  /** About rules that only compare a mesh before and after a change. */
  readonly steps: string | undefined;
  /** About rules of policies that ask who sends a request. */
  readonly requests: string | undefined;
}

/** The rules that are not asked, although they would have something to judge. */
export function unaskedRules(
  { rules, selection, mesh }: Pick<Examined, "rules" | "selection" | "mesh">,
  { steps, requests }: Advice,
): Skipped[] {
  const settings = selection.between(mesh, mesh);
  const reasonOf = (rule: Rule): string | undefined => {
    if (steps !== undefined && rule.check === undefined) return `compares a change with the mesh before it; ${steps}`;
    return requests !== undefined && "request" in rule.parameters ? `asks about a request; ${requests}` : undefined;
  };
  return rules.flatMap((rule) => {
    const reason = reasonOf(rule);
    return reason === undefined || idleness(rule, mesh, settings) !== undefined ? [] : [{ rule: rule.id, reason }];
  });
}

/** Counts objects by the kind in their manifests, in the order of the table of kinds. Gateways of Istio and of the Gateway API are one kind there. */
export function countedByKind(...all: readonly Iterable<AnyObject>[]): Readonly<Record<string, number>> {
  const counts = new Map<Kind, Map<string, number>>(allKinds.map((kind) => [kind, new Map()]));
  for (const objects of all)
    for (const { kind, originKind, implied } of objects) {
      const ofKind = counts.get(kind);
      if (implied !== true) ofKind?.set(originKind, (ofKind.get(originKind) ?? 0) + 1);
    }
  const byName: Record<string, number> = {};
  for (const [name, count] of [...counts.values()].flatMap((ofKind) => [...ofKind]))
    byName[name] = (byName[name] ?? 0) + count;
  return byName;
}
