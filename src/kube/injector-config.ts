import { parseYaml } from "./mesh-config.ts";
import { intOrText, list, type Malformed, map, member, name, optional, type Read, record, text } from "./read.ts";

const labelSelector = record({
  matchLabels: map(text),
  matchExpressions: list(record({ key: name, operator: name, values: list(name) })),
});
const config = record({
  policy: text,
  defaultTemplates: list(name),
  neverInjectSelector: list(labelSelector),
  alwaysInjectSelector: list(labelSelector),
  injectedAnnotations: map(text),
});
const values = record({
  global: optional(
    record({
      proxy: optional(record({ includeInboundPorts: text, excludeInboundPorts: text, statusPort: intOrText })),
    }),
  ),
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
