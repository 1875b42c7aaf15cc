import type { ObjectOf } from "../kube/object.ts";

export type ExportTo = readonly string[];

/**
 * What holds for the whole mesh. Never unknown, only assumed: what no mesh config says has Istio's default
 * (Istio pkg/config/mesh/mesh.go DefaultMeshConfig).
 */
export interface MeshSettings {
  /** Where mesh-wide policies live. */
  readonly rootNamespace: string;
  /** The cluster domain of service hosts; istiod takes it from a flag, no mesh config says it. */
  readonly domain: string;
  readonly trustDomain: string;
  readonly trustDomainAliases: readonly string[];
  readonly autoMtls: boolean;
  readonly defaultServiceExportTo: ExportTo;
  readonly defaultVirtualServiceExportTo: ExportTo;
  readonly defaultDestinationRuleExportTo: ExportTo;
  /** Revisions that a control plane serves: objects labelled `istio.io/rev` with another one are nobody's. */
  readonly revisions: readonly string[];
  /** False: no mesh config was seen, everything above is Istio's default. */
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

/** The ConfigMap that the settings come from: that of the default revision, where Istio is installed. */
export const isMeshSettings = ({ metadata }: ObjectOf<"MeshConfig">): boolean =>
  metadata.name === "istio" && metadata.namespace === defaultMeshSettings.rootNamespace;

/**
 * The settings that mesh configs give. Each ConfigMap `istio-<revision>` says that the revision is served; the others
 * of its values do not count, because the view is read as one mesh.
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
