import { idOf } from "../../kube/identity.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { faultsOf } from "./faults.ts";
import type { Entry, Intent } from "./intents.ts";
import { formatEntry } from "./wording.ts";

/** Everybody whom an entry is about, and what limits its requests. */
interface Expected {
  readonly intent: Intent;
  readonly entry: Entry;
  /** What it is about and expects, without its callers. */
  readonly key: string;
  readonly unlimited: string;
}

/**
 * What intents no longer expect, one phrase for each of their entries; empty if everything is still expected. An entry that expects the
 * same of more callers, or without conditions, makes up for one. One that does so in another way counts as lost, and none is left out.
 */
export function lostExpectations(
  before: readonly Intent[],
  after: readonly Intent[],
  settings: MeshSettings,
): readonly string[] {
  const now = new Set(after);
  const gone = before.filter((intent) => !now.has(intent));
  if (gone.length === 0) return [];
  const callers = new Map<string, Set<string>>();
  for (const { key, entry } of after.flatMap((intent) => expectedBy(intent, settings))) {
    const known = callers.get(key) ?? new Set();
    callers.set(key, known);
    for (const caller of entry.from) known.add(caller);
  }
  const isExpected = ({ entry, key, unlimited }: Expected): boolean =>
    entry.from.every(
      (caller) => callers.get(key)?.has(caller) === true || callers.get(unlimited)?.has(caller) === true,
    );
  return gone
    .flatMap((intent) => expectedBy(intent, settings))
    .filter((expected) => !isExpected(expected))
    .map(({ intent, entry }) => `${idOf(intent)}: ${formatEntry(entry)}: no longer expected`);
}

/** What is wrong keeps nothing; what only a mesh decides, such as a Service that is missing, may follow. */
function expectedBy(intent: Intent, settings: MeshSettings): readonly Expected[] {
  const wrong = new Set<unknown>();
  let isWrong = false;
  for (const fault of faultsOf(intent, settings)) {
    if (fault === undefined || fault.isGuess === true) continue;
    const [, field, i] = fault.at;
    if (field === "requests" && i !== undefined) wrong.add(i);
    else isWrong = true;
  }
  if (isWrong) return [];
  const { namespace } = intent.metadata;
  const { to, requests } = intent.spec;
  return requests.flatMap((entry, i) => {
    if (wrong.has(i)) return [];
    const { from, expect, destinations, ...conditions } = entry;
    const about = { namespace, to, expect, destinations };
    // `others` are those whom the entries beside do not name.
    const others = from.includes("others") ? requests.map((one) => one.from) : undefined;
    const keyOf = (limits: object) => JSON.stringify([about, others, limits]);
    return [{ intent, entry, key: keyOf(conditions), unlimited: keyOf(unlimitedOf(conditions)) }];
  });
}

/** The same fields, none of which limits anything: lists that are not set are read as empty. */
const unlimitedOf = (conditions: Omit<Entry, "from" | "expect" | "destinations">): object =>
  Object.fromEntries(Object.entries(conditions).map(([field, value]) => [field, Array.isArray(value) ? [] : {}]));
