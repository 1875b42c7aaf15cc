import { idOf } from "../../kube/identity.ts";
import type { Labels, ObjectOf } from "../../kube/object.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, relation } from "../../view/view.ts";
import { attachesToGateway, type AuthorizationPolicy, type GatewayTarget } from "../authorization/policies.ts";
import { scopeOfPatches } from "../authorization/envoy-filter-scope.ts";
import { policyScope, type ProxyScope, type ProxyType } from "../authorization/proxy-scope.ts";
import { namespaceByNameAndRoot } from "../objects/indexes.ts";
import { isServed } from "../objects/revision.ts";
import type { Definition } from "../traffic/definition-choice.ts";
import { SelectorGroups } from "../objects/selector-groups.ts";
import { type TokenUse, tokenUseOf, unknownTokens } from "./token-use.ts";

type EnvoyFilter = ObjectOf<"EnvoyFilter">;
type Plugin = ObjectOf<"WasmPlugin"> | ObjectOf<"TrafficExtension">;
type RequestAuthentication = ObjectOf<"RequestAuthentication">;
type Attaching = EnvoyFilter | Plugin | RequestAuthentication;

/** A namespace and the EnvoyFilters in it and in the root namespace that may change how its proxies decide about requests. */
export const envoyFiltersOver = relation(
  "envoyFiltersOver",
  namespaceByNameAndRoot,
  index("EnvoyFilter", (filter, settings) =>
    isServed(filter, settings) && touchesDecisions(filter) ? [filter.metadata.namespace] : [],
  ),
);
/** A namespace and the WasmPlugins in it and in the root namespace. */
export const wasmPluginsOver = relation(
  "wasmPluginsOver",
  namespaceByNameAndRoot,
  index("WasmPlugin", (plugin, settings) => (isServed(plugin, settings) ? [plugin.metadata.namespace] : [])),
);
/** A namespace and the TrafficExtensions in it and in the root namespace. */
export const trafficExtensionsOver = relation(
  "trafficExtensionsOver",
  namespaceByNameAndRoot,
  index("TrafficExtension", (plugin, settings) => (isServed(plugin, settings) ? [plugin.metadata.namespace] : [])),
);
/** A namespace and the RequestAuthentications in it and in the root namespace. */
export const requestAuthenticationsOver = relation(
  "requestAuthenticationsOver",
  namespaceByNameAndRoot,
  index("RequestAuthentication", (authentication, settings) =>
    isServed(authentication, settings) && authentication.spec.jwtRules.length > 0
      ? [authentication.metadata.namespace]
      : [],
  ),
);

/** Patches of clusters and of the bootstrap configuration do not touch the filters of requests that arrive. */
const elsewhere: ReadonlySet<string> = new Set(["CLUSTER", "BOOTSTRAP", "SIDECAR_OUTBOUND"]);
const scopes = new WeakMap<EnvoyFilter, ProxyScope>();

/** The proxies to which patches of an EnvoyFilter apply that touch what they decide about requests. */
function decidingScopeOf(filter: EnvoyFilter): ProxyScope {
  let known = scopes.get(filter);
  if (known === undefined)
    scopes.set(filter, (known = scopeOfPatches(filter, filter.spec.configPatches.filter(isTouching))));
  return known;
}

const touchesDecisions = (filter: EnvoyFilter): boolean => decidingScopeOf(filter).types?.length !== 0;

/** A patch without what tells where it applies is taken to touch everything. */
const isTouching = ({ applyTo = "", match }: EnvoyFilter["spec"]["configPatches"][number]): boolean =>
  !elsewhere.has(applyTo) && !elsewhere.has(match?.context ?? "");

const scopeOf = (object: Attaching): ProxyScope =>
  object.kind === "EnvoyFilter" ? decidingScopeOf(object) : policyScope(object.spec, object.metadata.namespace);

const isForType = (object: Attaching, type: ProxyType): boolean => scopeOf(object).types?.includes(type) !== false;

/** Objects of one namespace and of the root namespace by the proxies that they are attached to. */
class Attached<T extends Attaching> {
  readonly #selecting: SelectorGroups<T>;
  readonly #targeting: readonly T[];
  readonly #settings: MeshSettings;

  constructor(all: readonly T[], settings: MeshSettings) {
    const scoped = all.map((object) => [scopeOf(object), object] as const);
    this.#selecting = new SelectorGroups(
      scoped.flatMap(([{ labels, targetRefs }, object]) => (targetRefs.length > 0 ? [] : [[labels, object] as const])),
    );
    this.#targeting = scoped.flatMap(([{ targetRefs }, object]) => (targetRefs.length > 0 ? object : []));
    this.#settings = settings;
  }

  /** One that is attached to pods with these labels, or to this gateway. */
  first(labels: Labels, gateway: GatewayTarget | undefined): T | undefined {
    if (gateway === undefined) return this.#selecting.selecting(labels)[0]?.members[0];
    return this.atGateway(labels, gateway)[0];
  }

  /** All that are attached to pods with these labels. The list is the same one for all labels that the same selectors select. */
  atPods(labels: Labels): readonly { readonly members: readonly T[] }[] {
    return this.#selecting.selecting(labels);
  }

  /** All that are attached to this gateway. */
  atGateway(labels: Labels, gateway: GatewayTarget): readonly T[] {
    const selecting = gateway.isWaypoint ? [] : this.atPods(labels).flatMap(({ members }) => members);
    const targeting = this.#targeting.filter((object) => attachesToGateway(asPolicy(object), gateway, this.#settings));
    return [...selecting, ...targeting];
  }

  /**
   * All that target a Service or a ServiceEntry of their own namespace (Istio pilot/pkg/model/policyattachment.go
   * ShouldAttachPolicy), so that those of the root namespace target none of others. No EnvoyFilter does, because istiod looks for them
   * once for each proxy, whatever this serves (push_context.go getMatchedEnvoyFilters).
   */
  for({ kind, metadata: { name, namespace } }: Definition): readonly T[] {
    const groups = kind === "Service" ? ["", "core"] : ["networking.istio.io"];
    const isTarget = (ref: ProxyScope["targetRefs"][number]) =>
      ref.kind === kind && groups.includes(ref.group) && ref.name === name;
    return this.#targeting.filter(
      (object) =>
        object.kind !== "EnvoyFilter" &&
        object.metadata.namespace === namespace &&
        scopeOf(object).targetRefs.some(isTarget),
    );
  }
}

/** attachesToGateway reads nothing of a policy but its metadata and its scope. */
const asPolicy = (object: Attaching): AuthorizationPolicy =>
  ({ metadata: object.metadata, spec: { ...scopeOf(object), selector: undefined } }) as unknown as AuthorizationPolicy;

/** A Gateway of the Gateway API, or what the proxy of other pods is. */
export type AttachedProxy = GatewayTarget | "sidecar" | "gateway";

/** What is attached to the proxies of a namespace beside its policies. */
export class ProxyAttachments {
  readonly #filters: Readonly<Record<ProxyType, Attached<EnvoyFilter | Plugin>>>;
  readonly #tokens: Attached<RequestAuthentication>;
  readonly #knowsTokens: boolean;
  readonly #uses = new Map<unknown, TokenUse>();

  constructor(
    filters: readonly (EnvoyFilter | Plugin)[],
    tokens: readonly RequestAuthentication[],
    of: { readonly settings: MeshSettings; readonly knowsTokens: boolean },
  ) {
    const ofType = (type: ProxyType) =>
      new Attached(
        filters.filter((filter) => isForType(filter, type)),
        of.settings,
      );
    this.#filters = { sidecar: ofType("sidecar"), gateway: ofType("gateway"), waypoint: ofType("waypoint") };
    this.#tokens = new Attached(tokens, of.settings);
    this.#knowsTokens = of.knowsTokens;
  }

  /**
   * What the proxies of pods do with tokens. Without a RequestAuthentication no request has a principal or claims, whatever token it
   * carries (Istio pilot/pkg/security/authn/policy_applier.go JwtFilter).
   */
  tokensAt(labels: Labels): TokenUse {
    if (!this.#knowsTokens) return unknownTokens;
    const groups = this.#tokens.atPods(labels);
    let use = this.#uses.get(groups);
    if (use === undefined) this.#uses.set(groups, (use = tokenUseOf(groups.flatMap(({ members }) => members))));
    return use;
  }

  /** The RequestAuthentications that are attached to pods with these labels. The list is the same one for all labels that the same select. */
  tokenRulesOfPods(labels: Labels): readonly { readonly members: readonly RequestAuthentication[] }[] {
    return this.#tokens.atPods(labels);
  }

  /** The same of a gateway. `others`: RequestAuthentications that count there, too. */
  tokensAtGateway(
    labels: Labels,
    gateway: GatewayTarget | undefined,
    others: readonly RequestAuthentication[] = [],
  ): TokenUse {
    if (!this.#knowsTokens) return unknownTokens;
    if (gateway === undefined) return this.tokensAt(labels);
    return tokenUseOf([...this.tokenRulesAt(labels, gateway), ...others]);
  }

  /** Those that target a Service or a ServiceEntry, and count at its waypoint. */
  tokenRulesFor(definition: Definition): readonly RequestAuthentication[] {
    return this.#tokens.for(definition);
  }

  /** The filters and plugins that are attached to a gateway. */
  extensionsAt(labels: Labels, gateway: GatewayTarget): readonly (EnvoyFilter | Plugin)[] {
    return this.#filters[typeOf(gateway)].atGateway(labels, gateway);
  }

  /** The RequestAuthentications that are attached to a gateway. */
  tokenRulesAt(labels: Labels, gateway: GatewayTarget): readonly RequestAuthentication[] {
    return this.#tokens.atGateway(labels, gateway);
  }

  /** Those that target a Service or a ServiceEntry, and count at its waypoint. */
  extensionsFor(definition: Definition): readonly (EnvoyFilter | Plugin)[] {
    return this.#filters.waypoint.for(definition);
  }

  /** Why it is not certain how a proxy decides; undefined: it is. */
  unclear(labels: Labels, proxy: AttachedProxy): string | undefined {
    return because(this.#filters[typeOf(proxy)].first(labels, typeof proxy === "string" ? undefined : proxy));
  }
  unclearFor(definition: Definition): string | undefined {
    return because(this.extensionsFor(definition)[0]);
  }
}

const typeOf = (proxy: AttachedProxy): ProxyType =>
  typeof proxy === "string" ? proxy : proxy.isWaypoint ? "waypoint" : "gateway";

function because(object: EnvoyFilter | Plugin | undefined): string | undefined {
  if (object === undefined) return undefined;
  if (object.kind === "EnvoyFilter")
    return `${idOf(object)} patches the filters of this proxy, so that it may decide otherwise`;
  return `${idOf(object)} runs in this proxy, and may refuse requests or change them`;
}

/** What is attached to the proxies of a namespace beside its policies: filters, plugins, and the validation of tokens. */
export const attachments = fact(
  "attachments",
  "Namespace",
  [envoyFiltersOver, wasmPluginsOver, trafficExtensionsOver, requestAuthenticationsOver],
  (namespace, mesh) =>
    new ProxyAttachments(
      [
        ...mesh.related(envoyFiltersOver, namespace),
        ...mesh.related(wasmPluginsOver, namespace),
        ...mesh.related(trafficExtensionsOver, namespace),
      ],
      mesh.related(requestAuthenticationsOver, namespace),
      { settings: mesh.settings, knowsTokens: mesh.knowsAll("RequestAuthentication") },
    ),
);
