import type { MeshSettings } from "../../view/settings.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import {
  customAuthorization,
  customLevels,
  hasCustomPolicies,
  readsCustomAuthorization,
} from "../authorization/custom-authorization.ts";
import type { AppliedPolicies } from "../authorization/applied-policies.ts";
import { authorization, type Gateway, type NamespaceAuthorization } from "../authorization/effective-authorization.ts";
import { providerUse } from "../authorization/providers.ts";
import { type Applied, readAt } from "../authorization/requests/applied.ts";
import type { Place } from "../authorization/requests/matches.ts";
import type { InjectorSettings } from "../membership/injector-selectors.ts";
import { captureOf } from "../membership/capture.ts";
import { isIstiosWaypointOrGateway } from "../membership/gateways.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { isProxy, type Workload } from "../membership/workloads.ts";
import { namespaceByName } from "../objects/indexes.ts";
import { gatewayNameLabel } from "../objects/labels.ts";
import type { Definition } from "../traffic/definition-choice.ts";
import { formatWaypoint, type WaypointBinding } from "../waypoints/bindings.ts";
import { unknownClass } from "../waypoints/other-controllers.ts";
import { type Asking, type Enforcement, providerOf } from "./decisions.ts";
import { attachments, type ProxyAttachments } from "./attachments.ts";
import type { EnforcementPoint } from "./outcome.ts";
import type { GatewayProxy } from "./question.ts";
import { noTokens, type TokenUse, unknownTokens } from "./token-use.ts";

/** What decides about requests at one place. */
export interface Guard {
  /** Undefined: nothing enforces policies there. */
  readonly enforcement: Enforcement | undefined;
  readonly tokens: TokenUse;
  /** What makes every decision of policies uncertain; undefined: nothing. */
  readonly unclear: string | undefined;
}

/** A gateway and its namespace. */
export const namespaceOfWaypoint = relation(
  "namespaceOfWaypoint",
  index("KubernetesGateway", ({ metadata }) => [metadata.namespace]),
  namespaceByName,
);

interface Enforced {
  readonly applied: AppliedPolicies;
}

/** CUSTOM policies where they apply, and what is known of their providers. */
interface CustomPolicies extends Enforced {
  readonly uses: Asking["uses"];
}

/** The CUSTOM policies of a namespace, and what is known of their providers; undefined: there are none. */
export const customPolicies = fact(
  "customPolicies",
  "Namespace",
  [...readsCustomAuthorization, providerUse],
  (namespace, mesh): CustomPolicies | undefined => {
    const levels = mesh.get(customLevels, namespace);
    if (!hasCustomPolicies(levels)) return undefined;
    const all = [...levels.own.policies, ...(levels.meshWide?.policies ?? [])];
    const uses: Asking["uses"] = new Map(all.map((policy) => [policy, mesh.get(providerUse, policy)]));
    return { applied: customAuthorization(namespace, mesh).applied, uses };
  },
);

/** What `Guards` reads. */
const guardsOfNamespaceReads = [authorization, customPolicies, attachments] as const;

/** The pods of a gateway; their workload may not be known. */
type ProxyPod = Pick<GatewayProxy, "workload" | "labels">;

/** The guards of the workloads of a namespace. Workloads with the same policies share one. */
class Guards {
  readonly #namespace: Namespace;
  readonly #settings: InjectorSettings;
  readonly #authorization: NamespaceAuthorization;
  readonly #custom: CustomPolicies | undefined;
  readonly #attached: ProxyAttachments;
  /** Of workloads as they are read, and where they are bypassed: many clients send to one. */
  readonly #ofWorkloads = new Map<Workload, Map<string, Guard>>();
  readonly #shared = new Map<unknown, Map<unknown, Map<string, Guard>>>();

  constructor(namespace: Namespace, mesh: MeshView<(typeof guardsOfNamespaceReads)[number]>) {
    this.#namespace = namespace;
    this.#settings = mesh.settings;
    this.#authorization = mesh.get(authorization, namespace);
    this.#custom = mesh.get(customPolicies, namespace);
    this.#attached = mesh.get(attachments, namespace);
  }

  /** At the workload itself. `isBypassed`: the port bypasses the mesh. */
  ofWorkload(workload: Workload, protocol: Exclude<Place, "ztunnel">, isBypassed: boolean): Guard {
    let known = this.#ofWorkloads.get(workload);
    if (known === undefined) this.#ofWorkloads.set(workload, (known = new Map()));
    const key = `${protocol} ${isBypassed}`;
    let found = known.get(key);
    if (found === undefined) known.set(key, (found = this.#findOf(workload, protocol, isBypassed)));
    return found;
  }

  #findOf(workload: Workload, protocol: Exclude<Place, "ztunnel">, isBypassed: boolean): Guard {
    const gateway = this.#gatewayOf(workload.pod.labels);
    if (gateway !== undefined || isProxy(workload))
      return this.#ofGateway({ workload, labels: workload.pod.labels }, gateway, protocol);
    const capture = captureOf(workload, this.#namespace, this.#settings);
    if (isBypassed || capture === "none") return unguarded;
    if (capture === "unknown") return { ...unguarded, unclear: unknownCapture(this.#namespace) };
    const applied = this.#authorization.applied.toWorkload(workload);
    if (capture === "ambient") return this.#sharedBy(applied, undefined, atZtunnel);
    const { labels } = workload.pod;
    return this.#sharedBy(applied, this.#custom?.applied.toWorkload(workload), {
      at: "sidecar",
      place: protocol,
      tokens: this.#attached.tokensAt(labels),
      unclear: this.#attached.unclear(labels, "sidecar"),
    });
  }

  /** At the proxy of a gateway, whether its workload is known as one, only looks like one, or is not known. */
  ofProxy(proxy: ProxyPod, place: Exclude<Place, "ztunnel">): Guard {
    return this.#ofGateway(proxy, this.#gatewayOf(proxy.labels), place);
  }

  #ofGateway({ workload, labels }: ProxyPod, gateway: Gateway | undefined, place: Exclude<Place, "ztunnel">): Guard {
    const of = ({ applied }: Enforced) => {
      if (gateway !== undefined) return applied.toGateway(gateway);
      return workload === undefined ? applied.toLabels(labels) : applied.toWorkload(workload);
    };
    return this.#sharedBy(of(this.#authorization), this.#custom && of(this.#custom), {
      at: "gateway",
      place,
      tokens: this.#attached.tokensAtGateway(labels, gateway),
      unclear: this.#attached.unclear(labels, gateway ?? "gateway"),
    });
  }

  #gatewayOf(labels: ProxyPod["labels"]): Gateway | undefined {
    return this.#authorization.gateways.find(({ name }) => name === labels[gatewayNameLabel]);
  }

  #sharedBy(
    applied: Applied,
    asked: Applied | undefined,
    of: { readonly at: EnforcementPoint; readonly place: Place } & Pick<Guard, "tokens" | "unclear">,
  ): Guard {
    const byLists = this.#shared.get(applied.lists) ?? new Map<unknown, Map<string, Guard>>();
    this.#shared.set(applied.lists, byLists);
    const byCustom = byLists.get(asked?.lists) ?? new Map<string, Guard>();
    byLists.set(asked?.lists, byCustom);
    const key = JSON.stringify(of);
    let guard = byCustom.get(key);
    if (guard === undefined)
      byCustom.set(key, (guard = guardOf(applied, askingAt(asked, this.#custom?.uses, of.place), of)));
    return guard;
  }
}

/** The guards of the workloads of a namespace, which all requests to them share. */
export const guards = fact(
  "guards",
  "Namespace",
  guardsOfNamespaceReads,
  (namespace, mesh) => new Guards(namespace, mesh),
);

const atZtunnel = { at: "ztunnel", place: "ztunnel", tokens: noTokens, unclear: undefined } as const;
const unguarded: Guard = { enforcement: undefined, tokens: unknownTokens, unclear: undefined };

export const unknownCapture = ({ metadata: { name } }: Namespace): string =>
  `the labels of namespace ${name} are not known, so that its pods may have sidecars, be ambient, or neither`;

const guardOf = (
  applied: Applied,
  custom: Asking | undefined,
  { at, place, ...rest }: { readonly at: EnforcementPoint; readonly place: Place } & Omit<Guard, "enforcement">,
): Guard => ({ ...rest, enforcement: { at, applied: readAt(applied, place), custom } });

/**
 * Which CUSTOM policies ask at a place; undefined: none. One whose provider is asked over HTTP is left out for connections, unless there
 * are several providers, so that Istio denies what they would be asked about (builder.go buildTCP).
 */
function askingAt(asked: Applied | undefined, uses: Asking["uses"] | undefined, place: Place): Asking | undefined {
  const policies = asked?.lists.flatMap((list) => list.policies) ?? [];
  if (asked === undefined || uses === undefined || policies.length === 0) return undefined;
  const isOne = new Set(policies.map(providerOf)).size === 1;
  if (place === "tcp" && isOne && policies.every((policy) => uses.get(policy)?.isOfRequestsAlone)) return undefined;
  return { ...readAt(asked, place), uses };
}

/** What decides about requests at a workload or a waypoint. */
export const guardReads = [guards, ...guardsOfNamespaceReads] as const;

/** What a waypoint enforces for a Service or a ServiceEntry, or for pods: the policies that target it, the waypoint, or its class. */
export function guardAtWaypoint(
  { object, namespace }: { readonly object: Definition | undefined; readonly namespace: Namespace },
  binding: WaypointBinding,
  protocol: Exclude<Place, "ztunnel">,
  mesh: MeshView<(typeof guardReads)[number] | typeof namespaceOfWaypoint>,
): Guard | undefined {
  const at = binding.gateway && mesh.related(namespaceOfWaypoint, binding.gateway)[0];
  if (at === undefined) return undefined;
  const [here, there] = [mesh.get(authorization, namespace), mesh.get(authorization, at)];
  const waypoint = gatewayNamed(binding, there);
  const joined = (own: Enforced | undefined, of: Enforced | undefined): Applied => ({
    place: protocol,
    settings: mesh.settings,
    lists: [
      ...((object && own?.applied.targeting(object, waypoint.controlPlane)) ?? []),
      ...(of?.applied.toGateway(waypoint).lists ?? []),
    ],
  });
  const custom = [mesh.get(customPolicies, namespace), mesh.get(customPolicies, at)] as const;
  const uses = new Map(custom.flatMap((one) => [...(one?.uses ?? [])]));
  const asked = askingAt(joined(...custom), uses, protocol);
  const attached = mesh.get(attachments, at);
  const ofService = mesh.get(attachments, namespace);
  return guardOf(joined(here, there), asked, {
    at: "waypoint",
    place: protocol,
    tokens: attached.tokensAtGateway({}, waypoint, object === undefined ? [] : ofService.tokenRulesFor(object)),
    unclear:
      unclearClass(binding, mesh.settings) ??
      attached.unclear({}, waypoint) ??
      (object && ofService.unclearFor(object)),
  });
}

/** Proxies of other vendors have policies of their own, and may not read AuthorizationPolicies. */
const unclearClass = ({ named, gateway }: WaypointBinding, settings: MeshSettings): string | undefined =>
  gateway === undefined || isIstiosWaypointOrGateway(gateway, settings)
    ? undefined
    : `waypoint ${formatWaypoint(named)} has ${unknownClass(gateway, settings)}`;

/** Classes of other vendors can be waypoints, too. */
function gatewayNamed(
  { named }: WaypointBinding,
  { gateways, controlPlaneOfWaypoint }: NamespaceAuthorization,
): Gateway {
  const known = gateways.find(({ name }) => name === named.name);
  return (
    known ?? {
      id: `Gateway ${named.namespace}/${named.name}`,
      ...named,
      isWaypoint: true,
      controlPlane: controlPlaneOfWaypoint,
    }
  );
}
