import { type Mode, modesOf, type Rule } from "../engine/rule.ts";
import type { PolicySelection } from "../engine/setting.ts";
import type { AnyObject } from "../kube/object.ts";
import type { Namespace } from "../mesh/membership/namespaces.ts";
import type { Policies } from "../policy/policies.ts";
import { protectorsOf } from "../policy/protection.ts";
import type { ExplanationLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";

/** The rules, and the policies that set their modes. */
export interface InForce {
  readonly policies: Policies;
  readonly selection: PolicySelection;
  readonly rules: readonly Rule[];
}

/** Whether a namespace is protected and by which policy, and the modes of the rules for `subject` in it. */
export function protectionLine(
  subject: AnyObject,
  namespace: Namespace,
  { mesh, policies, selection, rules }: InForce & { readonly mesh: Mesh },
): ExplanationLine {
  const { name, labels } = namespace.metadata;
  const protectors = protectorsOf(name, labels, policies);
  const [first, ...others] = protectors;
  const inForce = selection.between(mesh, mesh);
  const settings = rules.map((rule) => ({ rule, setting: inForce.of(rule, subject) }));
  const ownMode = (rule: Rule) => (first === undefined ? modesOf(rule).elsewhere : modesOf(rule).protected);
  const modes: Record<Mode, string[]> = { deny: [], warn: [], audit: [], off: [] };
  for (const { rule, setting } of settings) modes[setting.mode].push(rule.id);
  const unknown = namespace.implied ? " by its name; its labels are not known" : "";
  const changed = settings
    .filter(({ rule, setting }) => setting.mode !== ownMode(rule) && setting.ifProtected === undefined)
    .map(({ rule, setting: { mode, policy } }) => ({
      key: "protection.rule",
      of: rule.id,
      text: `${rule.id}: ${mode} instead of ${ownMode(rule)}, by ${policy}`,
      value: mode,
    }));
  const asleep = settings.filter(({ setting }) => setting.ifProtected !== undefined).length;
  return {
    key: "protection",
    text: first === undefined ? `Meshward: not protected${unknown}` : `Meshward: protected by ${shown(first)}`,
    value: first !== undefined,
    lines: [
      ...others.map((protector) => ({
        key: "protection.policy",
        of: protector.policy,
        text: `and by ${shown(protector)}`,
      })),
      {
        key: "protection.rules",
        text: `rules: ${Object.entries(modes)
          .filter(([, ids]) => ids.length > 0)
          .map(([mode, ids]) => `${ids.length} ${mode}`)
          .join(", ")}${asleep > 0 ? `, of which ${asleep} because the namespace is not protected` : ""}`,
        value: modes,
      },
      ...changed,
    ],
  };
}

const shown = ({ policy, by, matched }: ReturnType<typeof protectorsOf>[number]): string =>
  `${policy} (${by === "name" ? `name ${matched}` : `label ${matched}`})`;
