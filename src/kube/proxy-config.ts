import { parseFields, proxyConfigFields } from "./mesh-config.ts";
import { optional, record } from "./read.ts";

const proxyConfig = optional(record(proxyConfigFields));
export type ProxyConfigFields = NonNullable<ReturnType<typeof proxyConfig>>;

/** The annotation of a pod with a proxy config as YAML, which the injector applies over that of the mesh. */
export const proxyConfigAnnotation = "proxy.istio.io/config";

/** A longer text is not read, because parsing it would be expensive; those of users have a few lines. */
const maxLength = 1 << 14;
export const isTooLong = (annotations: Readonly<Record<string, string>>): boolean =>
  (annotations[proxyConfigAnnotation]?.length ?? 0) > maxLength;

const known = new WeakMap<Readonly<Record<string, string>>, ProxyConfigFields | undefined>();

/**
 * The proxy config in the annotations of a pod. Undefined if there is none, or none that can be read, which the injector
 * refuses (Istio pkg/config/mesh/mesh.go MergeProxyConfig).
 */
export function proxyConfigOf(annotations: Readonly<Record<string, string>>): ProxyConfigFields | undefined {
  const yaml = annotations[proxyConfigAnnotation];
  if (yaml === undefined || isTooLong(annotations)) return undefined;
  if (!known.has(annotations)) known.set(annotations, proxyConfig(parseFields(yaml, "a proxy config", []), []));
  return known.get(annotations);
}
