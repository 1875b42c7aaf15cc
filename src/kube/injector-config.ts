import { parseYaml } from "./mesh-config.ts";
import { flag, intOrText, list, type Malformed, map, member, optional, type Read, record, text } from "./read.ts";

/**
 * The injector reads numbers and booleans as text where a string is due: `policy: true` is the policy "true" (sigs.k8s.io/yaml
 * convertToJSONableObject, which Istio pkg/kube/inject/inject.go UnmarshalConfig calls).
 */
const scalar: Read<string | undefined> = (raw, malformed) =>
  typeof raw === "boolean" || typeof raw === "number" ? String(raw) : text(raw, malformed);
const scalarOrEmpty: Read<string> = (raw, malformed) => scalar(raw, malformed) ?? "";

const labelSelector = record({
  matchLabels: map(scalar),
  matchExpressions: list(record({ key: scalarOrEmpty, operator: scalarOrEmpty, values: list(scalarOrEmpty) })),
});
const config = record({
  policy: scalar,
  defaultTemplates: list(scalarOrEmpty),
  neverInjectSelector: list(labelSelector),
  alwaysInjectSelector: list(labelSelector),
  injectedAnnotations: map(scalar),
});
const values = record({
  global: optional(
    record({
      proxy: optional(record({ includeInboundPorts: text, excludeInboundPorts: text, statusPort: intOrText })),
    }),
  ),
  sidecarInjectorWebhook: optional(record({ rewriteAppHTTPProbe: flag })),
});

export interface InjectorConfigFields {
  readonly config: ReturnType<typeof config>;
  readonly values: ReturnType<typeof values>;
}

/**
 * The configuration of the sidecar injector inside the ConfigMap `istio-sidecar-injector`: YAML under `data.config`, and
 * the Helm values that its templates use as JSON under `data.values` (Istio pkg/kube/inject/watcher.go readConfigMap).
 */
export const readInjectorConfig: Read<InjectorConfigFields> = (raw, malformed) => {
  const data = member(raw, "data");
  const read = <T>(key: string, reader: Read<T>): T => {
    const written = member(data, key);
    const inner: Malformed[] = [];
    const value = reader(
      typeof written === "string" ? parseYaml(written, "the injector's configuration", inner) : undefined,
      inner,
    );
    for (const { at, expected, found } of inner) malformed.push({ at: ["data", key, ...at], expected, found });
    return value;
  };
  return { config: read("config", config), values: read("values", values) };
};
