import { idOf, keyOf } from "../kube/identity.ts";
import type { ObjectOf } from "../kube/object.ts";
import { faultsOf } from "../mesh/intents/faults.ts";
import { lostExpectations } from "../mesh/intents/losses.ts";
import type { Manifest } from "../sources/manifests/manifests.ts";
import type { Log } from "../telemetry/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { defaultMeshSettings, type MeshSettings } from "../view/settings.ts";
import { objectsIn } from "./given-intents.ts";
import { some } from "./policy-reload-log.ts";

// The MeshwardIntents of the files that a server follows, which are compared at a reload as MeshwardPolicies are.

export type Intent = ObjectOf<"MeshwardIntent">;

interface Telling {
  readonly log: Log;
  readonly metrics: Pick<Metrics, "policyReload">;
  readonly settings?: () => MeshSettings;
}

/** With the objects that were read before, for documents that did not change. */
export const intentsOf = (documents: readonly Manifest[]): readonly Intent[] =>
  objectsIn(documents).filter((object) => object.kind === "MeshwardIntent");

const settingsOf = ({ settings }: Pick<Telling, "settings">): MeshSettings => settings?.() ?? defaultMeshSettings;

/**
 * The intents that were read again, with the previous ones that are missing and without which less would be expected. A document of the
 * same name says what is meant now, whatever it says.
 */
export function continuedIntents(
  previous: readonly Intent[],
  read: readonly Intent[],
  telling: Pick<Telling, "settings">,
): { readonly intents: readonly Intent[]; readonly kept: readonly Intent[] } {
  const there = new Set(read.map(keyOf));
  const missing = previous.filter((intent) => !there.has(keyOf(intent)));
  const kept = missing.filter((intent) => lostExpectations([intent], read, settingsOf(telling)).length > 0);
  return { intents: [...read, ...kept], kept };
}

interface Reload {
  readonly previous: readonly Intent[];
  readonly intents: readonly Intent[];
  readonly kept: readonly Intent[];
  readonly keptBefore: readonly Intent[];
}

/** What was gained and lost by a reload. */
export function tellIntents({ previous, intents, kept, keptBefore }: Reload, telling: Telling): void {
  const { log, metrics } = telling;
  const titles = kept.map(idOf);
  if (kept.length > 0 && titles.join() !== keptBefore.map(idOf).join())
    log.error({ documents: some(titles) }, keptMessage);
  const known = new Map(previous.map((intent) => [keyOf(intent), JSON.stringify(intent.spec)]));
  const changed = intents.filter((intent) => known.get(keyOf(intent)) !== JSON.stringify(intent.spec));
  if (changed.length === 0 && intents.length === previous.length) return;
  const lost = lostExpectations(previous, intents, settingsOf(telling));
  metrics.policyReload(lost.length > 0 ? "weaker" : "ok");
  const documents = some(changed.map(idOf));
  if (lost.length > 0) log.error({ documents, lost: some(lost) }, "intents were reloaded and expect less than before");
  else log.info({ documents }, "intents were reloaded");
  tellFaults(changed, telling);
}

const keptMessage =
  "intents are missing in their source and stay in force, because less would be expected without them; " +
  "a restart reads the files as they are";

/** Says what is wrong with intents themselves. What they name may follow, so that only audits report it. */
export function tellFaults(intents: readonly Intent[], telling: Pick<Telling, "log" | "settings">): void {
  const settings = settingsOf(telling);
  const wrong = intents.flatMap((intent) =>
    [...faultsOf(intent, settings)].flatMap((fault) =>
      fault === undefined || fault.isGuess === true ? [] : [`${idOf(intent)}: ${fault.message}`],
    ),
  );
  if (wrong.length > 0) telling.log.error({ problems: some(wrong) }, "intents are wrong and keep less than they say");
}
