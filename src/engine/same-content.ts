import { contentOf, keyOfContent } from "../kube/content.ts";
import type { Kind } from "../kube/kinds.ts";
import type { AnyObject } from "../kube/object.ts";
import { type Index, index, type Mesh } from "../view/view.ts";

/**
 * Kinds of configuration that does the same under any name, once or twice. A second EnvoyFilter or WasmPlugin runs its filter twice, and the
 * name of a Service, a workload or a Gateway of the Gateway API is part of what it is.
 */
const kinds = [
  "AuthorizationPolicy",
  "RequestAuthentication",
  "PeerAuthentication",
  "VirtualService",
  "DestinationRule",
  "ServiceEntry",
  "Gateway",
  "KubernetesRoute",
  "Sidecar",
  "Telemetry",
  "ProxyConfig",
  "MeshwardIntent",
] as const satisfies readonly Kind[];

const indexes: ReadonlyMap<Kind, Index> = new Map(
  kinds.map((kind): [Kind, Index] => [kind, index(kind, (object) => [keyOfContent(contentOf(object))]) as Index]),
);

/** The indexes by which objects with the same content are found. */
export const contentIndexes: readonly Index[] = [...indexes.values()];

/** An object of the same kind and namespace that says the same under another name, such as the one that is renamed. */
export function sameContent(object: AnyObject, mesh: Mesh): AnyObject | undefined {
  const found = indexes.get(object.kind);
  if (found === undefined) return undefined;
  const content = contentOf(object);
  // Of several, any one does. Another content with the same number is none, and it is no harm to find nothing.
  const [other] = mesh.at(found, keyOfContent(content));
  return other && contentOf(other) === content ? other : undefined;
}
