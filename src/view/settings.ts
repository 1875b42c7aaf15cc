import type { MeshConfigFields } from "../kube/mesh-config.ts";
import type { AnyObject, ObjectOf } from "../kube/object.ts";
import { type ControlPlanes, controlPlanesOf, type GatewayClasses, type KnownInjectors } from "./control-planes.ts";

export { decidesSettings, mainRevision, revisionOfConfig, settingsObjects } from "./control-planes.ts";

export type ExportTo = readonly string[];

/**
 * The settings of the whole mesh that everything may read, because they only say what some objects mean: a change of one counts
 * as a change of these (engine/counted-otherwise.ts). What depends on one in any other way declares it. Settings are never
 * unknown: a field that no mesh config sets has Istio's default (Istio pkg/config/mesh/mesh.go DefaultMeshConfig).
 */
export interface MeshSettings {
  /** The namespace of mesh-wide policies. */
  readonly rootNamespace: string;
  /** The cluster domain of service hosts. istiod gets it from a flag; no mesh config contains it. */
  readonly domain: string;
  readonly trustDomain: string;
  readonly trustDomainAliases: readonly string[];
  readonly defaultServiceExportTo: ExportTo;
  readonly defaultVirtualServiceExportTo: ExportTo;
  readonly defaultDestinationRuleExportTo: ExportTo;
  /** Which Ingresses istiod serves, and at which proxies. */
  readonly ingress: IngressSettings;
  /** Which pods the injectors inject, which decides the data plane of a namespace and of its pods. */
  readonly injection: KnownInjectors;
  /** What the classes of Gateways say of them. Of a class that is absent, no GatewayClass is known. */
  readonly gatewayClasses: GatewayClasses;
}

/** What a mesh config says of Ingresses, which istiod makes Gateways and VirtualServices of. */
export interface IngressSettings {
  /** `OFF`: of none; `STRICT`: of those that name a class of Istio's; `DEFAULT`: also of those that name no class. */
  readonly mode: string;
  /** The value of the annotation that names a class. */
  readonly className: string;
  /** The value of the label `istio` of the proxies. */
  readonly proxies: string;
}

/** Settings that only those read who declare it, see `setting` in view.ts. A change of one concerns only them. */
export interface DeclaredSettings extends ControlPlanes {
  /** False: there is no mesh config, and all fields that come from it are Istio's defaults. */
  readonly seen: boolean;
  readonly autoMtls: boolean;
  /** What sidecars do with requests to hosts that they do not know: `ALLOW_ANY`, `REGISTRY_ONLY` or `ALLOW_ANY_DYNAMIC_DNS`. */
  readonly outboundTrafficPolicy: string;
  /** ISTIO_META_DNS_CAPTURE of all proxies: whether sidecars answer DNS queries, and give hosts without addresses one of their own. */
  readonly dnsCapture: string;
  /** The retries of routes that set none; undefined: Istio's default. */
  readonly defaultRetries: MeshConfigFields["defaultHttpRetryPolicy"];
  /** Whether proxies merge slashes of a path before they compare it. */
  readonly mergesSlashes: boolean;
  /** Whether they compare no path with a slash that is escaped: they decode it, or refuse the request. */
  readonly decodesSlashes: boolean;
  /** How requests are distributed over localities where no DestinationRule says it; undefined: Istio's default, which is failover. */
  readonly localityBalancing: MeshConfigFields["localityLbSetting"];
  /** The limits and the outlier detection of clients where no DestinationRule sets them; undefined: Istio's defaults. */
  readonly defaultTrafficPolicy: MeshConfigFields["defaultTrafficPolicy"];
  /** Whether the mesh certainly has other clusters, of which a view has no objects. */
  readonly hasOtherClusters: boolean;
}
export type AllMeshSettings = MeshSettings & DeclaredSettings;
/** No object contains the domain of the cluster, so that no change changes it. */
export type SettingName = Exclude<keyof AllMeshSettings, "domain">;
/** The settings that everything may read, and some that must be declared. */
export type SettingsWith<S extends SettingName> = MeshSettings & Pick<AllMeshSettings, S>;
/** What tells which control planes there are. */
export type RevisionSettings = SettingsWith<"revisions" | "tags" | "seen">;

export const defaultMeshSettings: AllMeshSettings = {
  rootNamespace: "istio-system",
  domain: "cluster.local",
  trustDomain: "cluster.local",
  trustDomainAliases: [],
  autoMtls: true,
  defaultServiceExportTo: ["*"],
  defaultVirtualServiceExportTo: ["*"],
  defaultDestinationRuleExportTo: ["*"],
  ingress: { mode: "STRICT", className: "istio", proxies: "ingressgateway" },
  injection: {},
  gatewayClasses: {},
  outboundTrafficPolicy: "ALLOW_ANY",
  dnsCapture: "",
  defaultRetries: undefined,
  mergesSlashes: false,
  decodesSlashes: false,
  localityBalancing: undefined,
  defaultTrafficPolicy: undefined,
  revisions: ["default"],
  configured: [],
  injectors: [],
  tags: {},
  ztunnelRevision: "",
  discovery: {},
  seen: false,
  hasOtherClusters: false,
};

/**
 * Derives the settings from mesh configs, injectors, revision tags, GatewayClasses, ztunnel and what joins clusters; other objects are ignored. Every mesh config
 * and every injector adds its revision. All other values come from one mesh config, because the view represents one mesh:
 * that of the revision `default`, else that of the default tag, else the one that was there first.
 */
export function meshSettingsOf(
  objects: Iterable<AnyObject>,
  base: AllMeshSettings = defaultMeshSettings,
): AllMeshSettings {
  const { config, joinsClusters, ...controlPlanes } = controlPlanesOf(objects, base);
  const hasOtherClusters = joinsClusters || base.hasOtherClusters;
  return { ...(config === undefined ? base : withConfig(base, config)), ...controlPlanes, hasOtherClusters };
}

function withConfig(base: AllMeshSettings, { mesh }: ObjectOf<"MeshConfig">): AllMeshSettings {
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
    ingress: ingressOf(mesh, base.ingress),
    outboundTrafficPolicy: mesh.outboundTrafficPolicy?.mode || base.outboundTrafficPolicy,
    dnsCapture: (mesh.defaultConfig?.proxyMetadata["ISTIO_META_DNS_CAPTURE"] ?? "").replaceAll('"', ""),
    defaultRetries: mesh.defaultHttpRetryPolicy,
    ...pathsOf(mesh),
    localityBalancing: mesh.localityLbSetting,
    defaultTrafficPolicy: mesh.defaultTrafficPolicy,
    seen: true,
  };
}

/** Which proxies serve Ingresses follows from their Service, if no label is set (Istio pilot/pkg/config/kube/ingress/gateways.go getIngressGatewaySelector). */
function ingressOf(mesh: MeshConfigFields, base: IngressSettings): IngressSettings {
  const { ingressControllerMode, ingressClass, ingressService, ingressSelector } = mesh;
  const service = ingressService === "istio-ingressgateway" ? "" : ingressService;
  return {
    mode: ingressControllerMode ?? base.mode,
    className: ingressClass ?? base.className,
    proxies: ingressSelector || service || base.proxies,
  };
}

/**
 * How proxies read a path. What their proxy config says goes before the setting of the mesh (Istio
 * pilot/pkg/networking/core/listener_builder.go buildHTTPConnectionManager, connection_settings.go applyConnectionSettingsToHCM).
 */
export function pathsOf({
  pathNormalization,
  defaultConfig,
}: MeshConfigFields): Pick<DeclaredSettings, "mergesSlashes" | "decodesSlashes"> {
  const normalization = pathNormalization?.normalization ?? "";
  const { httpMergeSlashes, httpPathWithEscapedSlashesAction: action } = defaultConfig?.connectionSettings ?? {};
  const decodes = normalization === "DECODE_AND_MERGE_SLASHES";
  return {
    mergesSlashes: httpMergeSlashes ?? (decodes || normalization === "MERGE_SLASHES"),
    decodesSlashes: actionOnSlashes(action) ?? decodes,
  };
}

/** Whether no escaped slash is left with this `httpPathWithEscapedSlashesAction`; undefined: it says nothing. */
export function actionOnSlashes(action: string | undefined): boolean | undefined {
  if (!action || action === "PATH_WITH_ESCAPED_SLASHES_UNSPECIFIED") return undefined;
  return action !== "KEEP_UNCHANGED";
}

const free: Readonly<Record<Exclude<keyof MeshSettings, "domain">, true>> = {
  rootNamespace: true,
  trustDomain: true,
  trustDomainAliases: true,
  defaultServiceExportTo: true,
  defaultVirtualServiceExportTo: true,
  defaultDestinationRuleExportTo: true,
  ingress: true,
  injection: true,
  gatewayClasses: true,
};
/** Whether everything may read the setting, without a declaration. */
export const isFree = (name: SettingName): boolean => Object.hasOwn(free, name);

/** The settings of which both have different values. */
export function changedSettings(before: AllMeshSettings, after: AllMeshSettings): ReadonlySet<SettingName> {
  const { domain: _, ...all } = defaultMeshSettings;
  const names = Object.keys(all) as SettingName[];
  return new Set(names.filter((name) => JSON.stringify(before[name]) !== JSON.stringify(after[name])));
}
