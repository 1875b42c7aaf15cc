import type { ObjectOf } from "../../kube/object.ts";
import type { MeshView } from "../../view/view.ts";
import type { Sender } from "../gateways/gateway-senders.ts";
import { isIstiosWaypointOrGateway } from "../membership/gateways.ts";
import { namespaceOfService, type Service } from "../membership/services.ts";
import type { Workload } from "../membership/workloads.ts";
import { type WaypointBinding, namespaceOfGateway } from "../waypoints/bindings.ts";
import { attachments, type ProxyAttachments } from "./attachments.ts";
import { GatewayRefusals, readsGatewayRefusals, type TokenDemand } from "./gateway-refusals.ts";

export type JwtRule = ObjectOf<"RequestAuthentication">["spec"]["jwtRules"][number];

/** What `WithheldTokens` read. */
export const readsWithheldTokens = [
  ...readsGatewayRefusals,
  namespaceOfService,
  namespaceOfGateway,
  attachments,
] as const;
type View = MeshView<(typeof readsWithheldTokens)[number]>;

/** The tokens that a gateway keeps from Services, which refuse every request of it for the lack of one. */
export class WithheldTokens {
  readonly #mesh: View;
  readonly #refusals = new Map<string, GatewayRefusals | undefined>();

  constructor(mesh: View) {
    this.#mesh = mesh;
  }

  /** Those of the gateway's rules that keep the tokens. Empty: the Service may let some request in, or refuses all for other reasons. */
  by(atGateway: readonly JwtRule[], service: Service, sender: Sender): ReadonlySet<JwtRule> {
    const demands = this.#refusalsIn(service)?.tokenDemands(service, sender) ?? [];
    const found = new Set<JwtRule>();
    for (const demand of demands)
      for (const rule of this.#rulesMeeting(demand, service)) {
        const by = rule === "unknown" ? undefined : withholding(atGateway, rule);
        if (by === undefined) return none;
        for (const one of by) found.add(one);
      }
    return found;
  }

  #refusalsIn(service: Service): GatewayRefusals | undefined {
    const { namespace } = service.metadata;
    if (!this.#refusals.has(namespace)) {
      const [object] = this.#mesh.related(namespaceOfService, service);
      this.#refusals.set(namespace, object && new GatewayRefusals({ object, mesh: this.#mesh }));
    }
    return this.#refusals.get(namespace);
  }

  /** The rules of the proxies for tokens that may be let in. */
  *#rulesMeeting({ proxies, isMetBy }: TokenDemand, service: Service): Iterable<JwtRule | "unknown"> {
    const seen = new Set<unknown>();
    for (const proxy of proxies) {
      const groups = this.#authenticationsAt(proxy, service);
      if (groups === undefined) yield "unknown";
      else if (!seen.has(groups))
        for (const { spec } of groups.flatMap(({ members }) => members))
          yield* spec.jwtRules.filter(({ issuer }) => isMetBy(issuer) !== "refused");
      seen.add(groups);
    }
  }

  /** Undefined: a filter or a plugin of the proxy may read tokens otherwise. */
  #authenticationsAt(proxy: Workload | WaypointBinding, service: Service): Authentications | undefined {
    if ("kind" in proxy) {
      const [namespace] = this.#mesh.related(namespaceOfService, service);
      const { labels } = proxy.pod;
      const there = namespace && this.#mesh.get(attachments, namespace);
      return there?.unclear(labels, "sidecar") === undefined ? there?.tokenRulesOfPods(labels) : undefined;
    }
    return this.#atWaypoint(proxy, service);
  }

  #atWaypoint({ gateway }: WaypointBinding, service: Service): Authentications | undefined {
    const [home] = gateway === undefined ? [] : this.#mesh.related(namespaceOfGateway, gateway);
    const [own] = this.#mesh.related(namespaceOfService, service);
    if (
      gateway === undefined ||
      home === undefined ||
      own === undefined ||
      !isIstiosWaypointOrGateway(gateway, this.#mesh.settings)
    )
      return undefined;
    const target = { name: gateway.metadata.name, namespace: home.metadata.name, isWaypoint: true };
    const [there, ofService] = [this.#mesh.get(attachments, home), this.#mesh.get(attachments, own)];
    if (there.unclear({}, target) !== undefined || ofService.unclearFor(service) !== undefined) return undefined;
    return [{ members: [...there.tokenRulesAt({}, target), ...ofService.tokenRulesFor(service)] }];
  }
}

type Authentications = ReturnType<ProxyAttachments["tokenRulesOfPods"]>;
const none: ReadonlySet<JwtRule> = new Set();

/**
 * The rules of a gateway that keep every token for itself that a server behind it takes by one of its own rules. Undefined: some token
 * may reach the server. Empty: the gateway refuses all of them, because it knows others at their place alone.
 *
 * A proxy removes the header of a token that it has validated, unless `forwardOriginalToken` is set (Istio
 * pilot/pkg/security/authn/policy_applier.go convertToEnvoyJwtConfig; Envoy source/extensions/filters/http/jwt_authn/authenticator.cc,
 * extractor.cc removeJwt), and refuses one of another issuer at a place where it looks. A cookie stays, and whether a query parameter does
 * differs between versions of Envoy, so servers that look there are not judged.
 */
export function withholding(atGateway: readonly JwtRule[], server: JwtRule): readonly JwtRule[] | undefined {
  if (server.fromParams.length + server.fromCookies.length > 0) return undefined;
  const found = new Set<JwtRule>();
  for (const place of headersOf(server)) {
    const there = atGateway.filter((rule) => headersOf(rule).includes(place));
    if (there.length === 0) return undefined;
    const taken = there.filter((rule) => isOfOneIssuer(rule, server));
    if (taken.some(({ forwardOriginalToken }) => forwardOriginalToken === true)) return undefined;
    for (const rule of taken) found.add(rule);
  }
  return [...found];
}

/** Envoy takes tokens of any issuer for a rule without one. */
const isOfOneIssuer = (one: JwtRule, other: JwtRule): boolean =>
  !one.issuer || !other.issuer || one.issuer === other.issuer;

/** The headers in which a rule looks for a token, with the text before it. */
const headersOf = ({ fromHeaders, fromParams, fromCookies }: JwtRule): readonly string[] =>
  fromHeaders.length + fromParams.length + fromCookies.length === 0
    ? [usualHeader]
    : fromHeaders.map(({ name, prefix }) => `${name.toLowerCase()}: ${prefix}`);
/** Without places of its own, a rule looks there, and in the query parameter `access_token`, which hardly any client uses (extractor.cc). */
const usualHeader = "authorization: Bearer ";
