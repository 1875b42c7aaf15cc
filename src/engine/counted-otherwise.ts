import { allKinds, type Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import { isNamedByTrustDomain } from "../mesh/authorization/named-callers.ts";
import { namedServersOf } from "../mesh/client-tls/named-servers.ts";
import { isInjectedAlike } from "../mesh/membership/injector-selectors.ts";
import { isClassedAlike } from "../mesh/membership/gateways.ts";
import { revisionLabel } from "../mesh/objects/labels.ts";
import { hasOwnExportTo } from "../mesh/traffic/definition-choice.ts";
import type { AllMeshSettings, SettingName } from "../view/settings.ts";
import type { Index, Mesh } from "../view/view.ts";

/** Which objects of these kinds count in another way if a setting is different; undefined kinds: all. */
interface Affected {
  readonly kinds?: readonly Kind[];
  isAffected(object: AnyObject, sides: readonly [before: AllMeshSettings, after: AllMeshSettings]): boolean;
}

const isWithoutExportTo = (object: AnyObject): boolean => !hasOwnExportTo(object);
const ofOwnTrust: Affected = {
  kinds: ["AuthorizationPolicy", "DestinationRule"],
  isAffected: (object) =>
    object.kind === "DestinationRule" ? namedServersOf(object).length > 0 : isNamedByTrustDomain(object),
};
const ofTrust: Affected = { kinds: ["AuthorizationPolicy"], isAffected: isNamedByTrustDomain };

const affected: { readonly [S in SettingName]?: Affected } = {
  // Whether any control plane reads an object depends on its label: one that nobody reads has no keys.
  revisions: {
    isAffected({ metadata: { labels } }, [before, after]) {
      const revision = labels[revisionLabel];
      return revision !== undefined && before.revisions.includes(revision) !== after.revisions.includes(revision);
    },
  },
  defaultServiceExportTo: { kinds: ["Service", "ServiceEntry"], isAffected: isWithoutExportTo },
  // istiod makes VirtualServices of routes of the Gateway API, which have no exportTo.
  defaultVirtualServiceExportTo: { kinds: ["VirtualService", "KubernetesRoute"], isAffected: isWithoutExportTo },
  defaultDestinationRuleExportTo: { kinds: ["DestinationRule"], isAffected: isWithoutExportTo },
  // Whether pods are injected follows from the Namespace and its workloads together.
  injection: {
    kinds: ["Namespace"],
    isAffected: (object, [before, after]) =>
      object.kind === "Namespace" &&
      !isInjectedAlike({ namespace: object, settings: before }, { namespace: object, settings: after }),
  },
  gatewayClasses: {
    kinds: ["KubernetesGateway"],
    isAffected: (object, [before, after]) =>
      object.kind === "KubernetesGateway" && !isClassedAlike(object, [before, after]),
  },
  trustDomain: ofOwnTrust,
  trustDomainAliases: ofTrust,
  ingress: { kinds: ["Ingress"], isAffected: () => true },
  // Policies of the root namespace count in every namespace, and only there.
  rootNamespace: {
    isAffected: ({ kind, metadata: { name, namespace } }, sides) =>
      sides.some(({ rootNamespace }) => (kind === "Namespace" ? name : namespace) === rootNamespace),
  },
};

/** The number of objects that are visited before others get a turn. */
const visitedAtOnce = 2_000;

/**
 * The objects whose meaning depends on settings that are different, although their content is the same. They count as changed,
 * so that relations lead from them to what depends on them. Yields in between.
 */
export function* countedOtherwise(
  mesh: Pick<Mesh, "all" | "settings">,
  after: AllMeshSettings,
  differing: ReadonlySet<SettingName>,
): Generator<void, readonly AnyObject[]> {
  const all = new Set([...differing].flatMap((name) => affected[name] ?? []));
  const found: AnyObject[] = [];
  if (all.size === 0) return found;
  let visited = 0;
  for (const kind of allKinds) {
    const asked = [...all].filter(({ kinds }) => kinds?.includes(kind) !== false);
    if (asked.length === 0) continue;
    for (const object of mesh.all(kind)) {
      if (asked.some((one) => one.isAffected(object, [mesh.settings, after]))) found.push(object);
      if (++visited % visitedAtOnce === 0) yield;
    }
  }
  return found;
}

/** The other objects that indexes have under other keys with these settings. Nothing else about them is different. */
export function* keyedOtherwise(
  mesh: Mesh,
  after: AllMeshSettings,
  { indexes, differing }: { readonly indexes: readonly Index[]; readonly differing: ReadonlySet<SettingName> },
): Generator<void, readonly AnyObject[]> {
  const found = new Set<AnyObject>();
  const depending = indexes.filter(({ dependsOn }) => dependsOn.some((name) => differing.has(name)));
  let visited = 0;
  for (const index of depending)
    for (const object of mesh.all(index.kind)) {
      if (!isSame(index.keys(object, mesh.settings), index.keys(object, after))) found.add(object);
      if (++visited % visitedAtOnce === 0) yield;
    }
  return [...found];
}

const isSame = (one: Iterable<string>, other: Iterable<string>): boolean =>
  new Set(one).symmetricDifference(new Set(other)).size === 0;
