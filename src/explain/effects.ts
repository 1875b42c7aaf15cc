import type { AnyObject } from "../kube/object.ts";
import { fullHost, hostOfService, isWildcard } from "../mesh/traffic/hosts.ts";
import type { Effect, Effects, MarkedLine } from "../report/effects.ts";
import { type DifferingLine, differenceOf } from "../report/explanation-difference.ts";
import type { Mesh } from "../view/view.ts";
import { decidesSettings } from "../view/settings.ts";
import { type ExplanationInput, explanationOf } from "./explanation.ts";
import type { Target } from "./target.ts";

/** More targets are not explained, because nobody would read them, and each takes time. */
const mostTargets = 200;

export interface ChangedMesh {
  readonly before: ExplanationInput;
  readonly after: ExplanationInput;
  /** The objects that the change writes and deletes. */
  readonly changed: readonly AnyObject[];
}

/** What a change does to the namespaces and hosts that its objects are about, in the words of `explain`. */
export function effectsOf({ before, after, changed }: ChangedMesh): Effects {
  const targets = [...namespacesOf(changed, after.mesh, before.mesh), ...hostsOf(changed, after.mesh)];
  const effects = targets.slice(0, mostTargets).flatMap((target): readonly Effect[] => {
    const [was, is] = [explanationOf(target, before), explanationOf(target, after)];
    const lines = differenceOf(was.lines, is.lines).map(marked);
    return lines.length === 0 ? [] : [{ target: is.target, title: is.title, lines }];
  });
  return { effects, unexplained: Math.max(0, targets.length - mostTargets) };
}

const marked = ({ mark, line, lines }: DifferingLine): MarkedLine => ({
  ...{ mark, key: line.key, of: line.of ?? null, text: line.text },
  lines: lines.map(marked),
});

/** Objects in the root namespace and mesh config can change every namespace. */
function namespacesOf(changed: readonly AnyObject[], ...meshes: readonly Mesh[]): readonly Target[] {
  const names = new Set<string>();
  const isMeshWide = changed.some(
    (object) =>
      decidesSettings(object) || meshes.some(({ settings }) => object.metadata.namespace === settings.rootNamespace),
  );
  for (const { kind, metadata } of changed) names.add(kind === "Namespace" ? metadata.name : metadata.namespace);
  if (isMeshWide) for (const mesh of meshes) for (const { metadata } of mesh.all("Namespace")) names.add(metadata.name);
  names.delete("");
  return [...names].sort().map((name) => ({ kind: "namespace", name }));
}

/** The hosts that the objects name, as clients in their own namespaces see them. */
function hostsOf(changed: readonly AnyObject[], { settings }: Mesh): readonly Target[] {
  const targets = new Map<string, Target>();
  for (const object of changed) {
    const from = object.metadata.namespace;
    for (const host of namedBy(object, settings.domain)) {
      const full = fullHost(host, from, settings.domain);
      if (host !== "" && !isWildcard(host)) targets.set(`${full} ${from}`, { kind: "host", host: full, from });
    }
  }
  return [...targets].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, target]) => target);
}

function namedBy(object: AnyObject, domain: string): readonly string[] {
  if (object.kind === "VirtualService" || object.kind === "ServiceEntry") return object.spec.hosts;
  if (object.kind === "DestinationRule") return [object.spec.host];
  return object.kind === "Service" ? [hostOfService(object, domain)] : [];
}
