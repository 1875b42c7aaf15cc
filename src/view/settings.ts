import type { ObjectOf } from "../kube/object.ts";

export type ExportTo = readonly string[];

/**
 * The settings of the whole mesh. They are never unknown: a field that no mesh config sets has Istio's default
 * (Istio pkg/config/mesh/mesh.go DefaultMeshConfig).
 */
export interface MeshSettings {
  /** The namespace of mesh-wide policies. */
  readonly rootNamespace: string;
  /** The cluster domain of service hosts. istiod gets it from a flag; no mesh config contains it. */
  readonly domain: string;
  readonly trustDomain: string;
  readonly trustDomainAliases: readonly string[];
  readonly autoMtls: boolean;
  readonly defaultServiceExportTo: ExportTo;
  readonly defaultVirtualServiceExportTo: ExportTo;
  readonly defaultDestinationRuleExportTo: ExportTo;
  /**
   * The revisions of the control planes. No control plane reads an object whose label `istio.io/rev` has another
   * value.
   */
  readonly revisions: readonly string[];
  /** False: there is no mesh config, and all fields above are Istio's defaults. */
  readonly seen: boolean;
}

export const defaultMeshSettings: MeshSettings = {
  rootNamespace: "istio-system",
  domain: "cluster.local",
  trustDomain: "cluster.local",
  trustDomainAliases: [],
  autoMtls: true,
  defaultServiceExportTo: ["*"],
  defaultVirtualServiceExportTo: ["*"],
  defaultDestinationRuleExportTo: ["*"],
  revisions: ["default"],
  seen: false,
};

/** Whether the settings come from this ConfigMap: that of the default revision, in Istio's namespace. */
export const isMeshSettings = ({ metadata }: ObjectOf<"MeshConfig">): boolean =>
  metadata.name === "istio" && metadata.namespace === defaultMeshSettings.rootNamespace;

/**
 * Derives the settings from mesh configs. Each ConfigMap `istio-<revision>` adds its revision; its other values are
 * ignored, because the view represents one mesh.
 */
export function meshSettingsOf(
  configs: Iterable<ObjectOf<"MeshConfig">>,
  base: MeshSettings = defaultMeshSettings,
): MeshSettings {
  let settings = base;
  const revisions = new Set(base.revisions);
  for (const config of configs) {
    const revision = config.metadata.name.startsWith("istio-") ? config.metadata.name.slice("istio-".length) : "";
    if (revision !== "") revisions.add(revision);
    if (isMeshSettings(config)) settings = withConfig(settings, config);
  }
  return { ...settings, revisions: [...revisions].sort() };
}

function withConfig(base: MeshSettings, { mesh }: ObjectOf<"MeshConfig">): MeshSettings {
  const nonEmpty = (exportTo: ExportTo, otherwise: ExportTo) => (exportTo.length > 0 ? exportTo : otherwise);
  return {
    ...base,
    rootNamespace: mesh.rootNamespace || base.rootNamespace,
    trustDomain: mesh.trustDomain || base.trustDomain,
    trustDomainAliases: mesh.trustDomainAliases,
    autoMtls: mesh.enableAutoMtls ?? true,
    defaultServiceExportTo: nonEmpty(mesh.defaultServiceExportTo, base.defaultServiceExportTo),
    defaultVirtualServiceExportTo: nonEmpty(mesh.defaultVirtualServiceExportTo, base.defaultVirtualServiceExportTo),
    defaultDestinationRuleExportTo: nonEmpty(mesh.defaultDestinationRuleExportTo, base.defaultDestinationRuleExportTo),
    seen: true,
  };
}
