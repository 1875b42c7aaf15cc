import type { MeshConfigFields } from "../kube/mesh-config.ts";
import type { AnyObject, ObjectOf } from "../kube/object.ts";
import { type ControlPlanes, controlPlanesOf } from "./control-planes.ts";

export { decidesSettings, settingsObjects } from "./control-planes.ts";

export type ExportTo = readonly string[];

/**
 * The settings of the whole mesh. They are never unknown: a field that no mesh config sets has Istio's default
 * (Istio pkg/config/mesh/mesh.go DefaultMeshConfig).
 */
export interface MeshSettings extends ControlPlanes {
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
  /** What sidecars do with requests to hosts that they do not know: `ALLOW_ANY`, `REGISTRY_ONLY` or `ALLOW_ANY_DYNAMIC_DNS`. */
  readonly outboundTrafficPolicy: string;
  /** The retries of routes that set none; undefined: Istio's default. */
  readonly defaultRetries: MeshConfigFields["defaultHttpRetryPolicy"];
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
  outboundTrafficPolicy: "ALLOW_ANY",
  defaultRetries: undefined,
  revisions: ["default"],
  configured: [],
  injectors: [],
  tags: {},
  ztunnelRevision: "",
  discovery: {},
  seen: false,
};

/** Whether this is the mesh config of the default revision, from which the settings come if it exists. */
export const isMeshSettings = ({ metadata }: ObjectOf<"MeshConfig">): boolean =>
  metadata.name === "istio" && metadata.namespace === defaultMeshSettings.rootNamespace;

/**
 * Derives the settings from mesh configs, injectors, revision tags and ztunnel; other objects are ignored. Every mesh config
 * and every injector adds its revision. All other values come from one mesh config, because the view represents one mesh:
 * that of the revision `default`, else that of the default tag, else the only one.
 */
export function meshSettingsOf(objects: Iterable<AnyObject>, base: MeshSettings = defaultMeshSettings): MeshSettings {
  const { config, ...controlPlanes } = controlPlanesOf(objects, base);
  return { ...(config === undefined ? base : withConfig(base, config)), ...controlPlanes };
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
    outboundTrafficPolicy: mesh.outboundTrafficPolicy?.mode || base.outboundTrafficPolicy,
    defaultRetries: mesh.defaultHttpRetryPolicy ?? base.defaultRetries,
    seen: true,
  };
}
