import { parseDocument } from "yaml";
import { flag, list, type Malformed, map, member, name, optional, type Read, record, text } from "./read.ts";

const meshConfig = record({
  rootNamespace: text,
  trustDomain: text,
  trustDomainAliases: list(name),
  enableAutoMtls: flag,
  defaultServiceExportTo: list(name),
  defaultVirtualServiceExportTo: list(name),
  defaultDestinationRuleExportTo: list(name),
  discoverySelectors: list(
    record({
      matchLabels: map(text),
      matchExpressions: list(record({ key: name, operator: name, values: list(name) })),
    }),
  ),
  defaultConfig: optional(record({ proxyMetadata: map(text) })),
});
type MeshConfigFields = ReturnType<typeof meshConfig>;

/** A mesh config longer than this is not read: istiod's own are a few kilobytes. */
const maxBytes = 1 << 20;

/**
 * The mesh config inside the ConfigMap `istio`: YAML text under `data.mesh` (Istio pkg/config/mesh/mesh.go
 * ApplyMeshConfig).
 */
export const readMeshConfig: Read<{ readonly mesh: MeshConfigFields }> = (raw, malformed) => {
  const data = member(member(raw, "data"), "mesh");
  const inner: Malformed[] = [];
  const mesh = meshConfig(typeof data === "string" ? parse(data, inner) : undefined, inner);
  for (const { at, expected, found } of inner) malformed.push({ at: ["data", "mesh", ...at], expected, found });
  if (data !== undefined && typeof data !== "string")
    malformed.push({ at: ["data", "mesh"], expected: "a string", found: typeof data });
  return { mesh };
};

function parse(yaml: string, malformed: Malformed[]): unknown {
  const wrong = (found: string) => malformed.push({ at: [], expected: "mesh config as YAML", found });
  if (yaml.length > maxBytes) {
    wrong(`${yaml.length} bytes`);
    return undefined;
  }
  try {
    const document = parseDocument(yaml);
    const [error] = document.errors;
    if (error === undefined) return document.toJS({ maxAliasCount: 100 }) as unknown;
    wrong(error.message.split("\n")[0] ?? "an error");
  } catch (error) {
    wrong(error instanceof Error ? (error.message.split("\n")[0] ?? "") : "an error");
  }
  return undefined;
}
