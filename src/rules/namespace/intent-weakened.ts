import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf, identityOf, keyOf } from "../../kube/identity.ts";
import { clusterIntentsOfNamespace, type Intent, intentsOfNamespace, isAbout } from "../../mesh/intents/intents.ts";
import { formatEntry, keyOfEntry } from "../../mesh/intents/wording.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";

export const namespaceIntentWeakened = defineRule({
  id: "namespace-intent-weakened",
  subject: "Namespace",
  reads: [intentsOfNamespace, clusterIntentsOfNamespace],
  worksWithout: ["MeshwardIntent"],
  mode: "warn",
  since: "0.1.0",
  summary: "The change removes an expectation of a MeshwardIntent, to which later changes are then not held any more.",
  why: "Who owns an intent may change and delete it, as RBAC allows. Everybody else relies on it: what it expected is no longer kept, and the next change that ends it is admitted. A label of a namespace decides whether an intent of the root namespace is about it.",
  fix: "Keep the intent, or tell those who rely on it. A policy with mode deny for this rule reserves such changes for break glass and exceptions.",
  incident: {
    symptoms: ["protection-missing"],
    proxies: [],
    seen: "Nothing changes for requests. The next change that ends what was expected is admitted.",
    wayOut: "Apply the previous version of the intent, or give the namespace its label again.",
    silentWhen: "Both versions of the intent say the same, or the namespace is being deleted.",
    page: "https://istio.io/latest/docs/ops/best-practices/security/",
  },

  *compare(before, after) {
    if (isTerminating(before.object) || isTerminating(after.object)) return;
    const now = new Map(after.mesh.related(intentsOfNamespace, after.object).map((intent) => [keyOf(intent), intent]));
    for (const intent of before.mesh.related(intentsOfNamespace, before.object))
      yield* lostIn(intent, now.get(keyOf(intent)));
    yield* left(before.object, after.object, {
      was: before.mesh.related(clusterIntentsOfNamespace, before.object),
      is: after.mesh.related(clusterIntentsOfNamespace, after.object),
    });
  },
});

function* lostIn(intent: Intent, now: Intent | undefined): Generator<Problem, undefined> {
  if (intent === now) return;
  const lost = (message: string, key: string): Problem => ({
    at: [],
    message,
    key: JSON.stringify([identityOf(intent), key]),
    related: now === undefined ? [] : [now],
  });
  if (now === undefined) {
    yield lost(`${idOf(intent)} is deleted, which expects: ${intent.spec.requests.map(formatEntry).join("; ")}`, "all");
    return;
  }
  if (!covers(now, intent))
    yield lost(`${idOf(intent)} is no longer about ${formatTarget(intent)}, but about ${formatTarget(now)}`, "to");
  const kept = new Set(now.spec.requests.map(keyOfEntry));
  for (const entry of intent.spec.requests)
    if (!kept.has(keyOfEntry(entry)))
      yield lost(`${idOf(intent)} no longer expects: ${formatEntry(entry)}`, keyOfEntry(entry));
}

/** Whether an intent is about all that another one is about. No ports are all ports. */
function covers({ spec: { to } }: Intent, { spec: { to: other } }: Intent): boolean {
  const isSamePlace = JSON.stringify({ ...to, ports: [] }) === JSON.stringify({ ...other, ports: [] });
  const hasPorts =
    to.ports.length === 0 || (other.ports.length > 0 && other.ports.every((port) => to.ports.includes(port)));
  return isSamePlace && hasPorts;
}

function formatTarget({ spec: { to } }: Intent): string {
  const ports = to.ports.length === 0 ? "" : ` at ${to.ports.join(", ")}`;
  if (to.service !== undefined) return `service ${to.service}${ports}`;
  if (to.host !== undefined) return `host ${to.host}${ports}`;
  const labels = (all: Readonly<Record<string, string>>) =>
    Object.entries(all).map(([key, value]) => `${key}: ${value}`);
  if (to.workloads !== undefined) return `workloads with ${labels(to.workloads).join(", ")}${ports}`;
  const { names = [], labels: wanted = {} } = to.namespaces ?? {};
  return `namespaces ${[...names, ...labels(wanted)].join(", ")}${ports}`;
}

/** Intents of the root namespace that are no longer about a namespace whose labels change. */
function* left(
  was: Namespace,
  is: Namespace,
  intents: { readonly was: readonly Intent[]; readonly is: readonly Intent[] },
): Generator<Problem, undefined> {
  if (was === is) return;
  const same = new Set(intents.is);
  for (const intent of intents.was)
    if (same.has(intent) && isAbout(intent, was) === true && isAbout(intent, is) === false)
      yield {
        at: ["metadata", "labels"],
        message: `${idOf(intent)} is no longer about namespace ${is.metadata.name}, for which it expects: ${intent.spec.requests.map(formatEntry).join("; ")}`,
        key: identityOf(intent),
        related: [intent],
      };
}
