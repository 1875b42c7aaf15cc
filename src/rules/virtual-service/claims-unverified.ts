import { absent } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { selects } from "../../mesh/objects/selectors.ts";
import { SelectorsTogether } from "../../mesh/objects/selectors-together.ts";
import {
  gatewaysOf,
  gatewaysOfVirtualService,
  isDelegate,
  meshGateway,
  workloadsOfGateway,
} from "../../mesh/traffic/virtual-service-clients.ts";
import type { VirtualService } from "../../mesh/traffic/virtual-services.ts";
import { index, type MeshView, relation } from "../../view/view.ts";

type RequestAuthentication = ObjectOf<"RequestAuthentication">;

const everywhere = "*";

/** A VirtualService that routes by claims, and all RequestAuthentications that accept tokens. */
const authenticationsOfClaims = relation(
  "authenticationsOfClaims",
  index("VirtualService", (virtualService, settings) =>
    isServed(virtualService, settings) && hasClaims(virtualService) ? [everywhere] : [],
  ),
  index("RequestAuthentication", (authentication, settings) =>
    isServed(authentication, settings) && authentication.spec.jwtRules.length > 0 ? [everywhere] : [],
  ),
);
const reads = [authenticationsOfClaims, gatewaysOfVirtualService, workloadsOfGateway] as const;
type View = MeshView<(typeof reads)[number]>;

export const virtualServiceClaimsUnverified = defineRule({
  id: "virtual-service-claims-unverified",
  subject: "VirtualService",
  reads,
  worksWithout: ["Gateway", "Workload"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["authorization", "gateway"],
  summary:
    "A match asks for claims of a token, and no RequestAuthentication verifies tokens where the requests arrive.",
  why: "A header `@request.auth.claims` in a match is compared with the claims of the token that a RequestAuthentication of the same proxy has verified (Istio pilot/pkg/networking/core/route/route.go translateMetadataMatch). Without one, a request has no claims: `headers` match none, and `withoutHeaders` match all.",
  fix: "Add a RequestAuthentication whose selector fits the pods of the gateway, in their namespace or in the root namespace.",
  incident: {
    symptoms: ["no-route", "other-destination"],
    proxies: ["gateway", "waypoint"],
    seen: "Requests with a valid token are routed as if they had none.",
    wayOut: "Apply the RequestAuthentication again if it was deleted, or the previous version of the VirtualService.",
    silentWhen:
      "RequestAuthentications are not known, or one of them may apply to the pods of the Gateway. Whether its issuer sets the claim is not known.",
    page: "https://istio.io/latest/docs/tasks/security/authentication/jwt-route/",
  },

  *check(virtualService, mesh) {
    if (!isServed(virtualService, mesh.settings) || !hasClaims(virtualService)) return;
    if (isVerified(virtualService, mesh)) return;
    const rest: Pick<Problem, "evidence" | "guess"> = {
      evidence: [absent("RequestAuthentication", "")],
      ...(mesh.knowsAll("RequestAuthentication") ? {} : { guess: "all RequestAuthentications" }),
    };
    for (const { field, name, at } of claimsOf(virtualService))
      yield {
        at,
        message: `No RequestAuthentication verifies tokens here, so no request has the claim of "${name}": ${effects[field]}`,
        key: `${field} ${name}`,
        ...rest,
      };
  },
});

const effects = {
  headers: "this match takes no request",
  withoutHeaders: "the condition is always true",
} as const;

/** The conditions on claims. Names ignore the case (Istio pkg/jwt/routing.go ToRoutingClaim). */
const claimsOf = ({ spec }: VirtualService) =>
  spec.http.flatMap(({ match }, i) =>
    match.flatMap((one, j) =>
      (["headers", "withoutHeaders"] as const).flatMap((field) =>
        Object.keys(one[field])
          .filter((name) => isClaim.test(name))
          .map((name) => ({ field, name, at: ["spec", "http", i, "match", j, field, name] })),
      ),
    ),
  );
const isClaim = /^@request\.auth\.claims(?:\..|\[.+\]$)/i;

const hasClaims = (virtualService: VirtualService): boolean => claimsOf(virtualService).length > 0;

/** Whether a RequestAuthentication can apply to a proxy that uses the routes. */
function isVerified(virtualService: VirtualService, mesh: View): boolean {
  const authentications = mesh.related(authenticationsOfClaims, virtualService);
  const verification = known.get(authentications) ?? new Verification(authentications);
  known.set(authentications, verification);
  // The gateways of a delegate are those of its root.
  if (isDelegate(virtualService)) return authentications.length > 0;
  const names = gatewaysOf(virtualService);
  const gateways =
    names.size === 1 && names.has(meshGateway) ? [] : mesh.related(gatewaysOfVirtualService, virtualService);
  // Sidecars route without a token, and waypoints have only what targets them.
  const isUnknown = gateways.length < names.size - Number(names.has(meshGateway));
  return (
    verification.hasTargets ||
    (isUnknown && authentications.length > 0) ||
    gateways.some((gateway) => isVerifiedAt(gateway, verification, mesh))
  );
}

/** A RequestAuthentication is for the pods of its namespace, or for all if it is in the root namespace. */
function isVerifiedAt(gateway: ObjectOf<"Gateway">, verification: Verification, mesh: View): boolean {
  const { selector } = gateway.spec;
  const pods = mesh.related(workloadsOfGateway, gateway).filter(({ pod }) => selects(selector, pod.labels));
  if (pods.length === 0 || !mesh.knowsAll("Workload")) return verification.selectors.meet(selector);
  return pods.some(({ metadata, pod }) =>
    [metadata.namespace, mesh.settings.rootNamespace].some((one) => verification.isFor(one, pod.labels)),
  );
}

/** RequestAuthentications, indexed for comparison with many Gateways. */
class Verification {
  readonly hasTargets: boolean;
  readonly selectors: SelectorsTogether;
  readonly #byNamespace: ReadonlyMap<string, readonly RequestAuthentication[]>;
  constructor(authentications: readonly RequestAuthentication[]) {
    const isTargeting = ({ spec }: RequestAuthentication) => spec.targetRefs.length > 0 || spec.targetRef !== undefined;
    const selecting = authentications.filter((one) => !isTargeting(one));
    this.hasTargets = authentications.some(isTargeting);
    this.selectors = new SelectorsTogether(selecting.map(labelsOf));
    this.#byNamespace = Map.groupBy(selecting, ({ metadata }) => metadata.namespace);
  }

  /** Whether one of a namespace selects pods with these labels. */
  isFor(namespace: string, labels: Readonly<Record<string, string>>): boolean {
    return this.#byNamespace.get(namespace)?.some((one) => selects(labelsOf(one), labels)) ?? false;
  }
}
/** All VirtualServices relate to one list of RequestAuthentications, which is indexed once. */
const known = new WeakMap<readonly RequestAuthentication[], Verification>();

const labelsOf = ({ spec }: RequestAuthentication) => spec.selector?.matchLabels ?? {};
