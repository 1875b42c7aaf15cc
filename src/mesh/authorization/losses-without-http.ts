import type { Namespace } from "../membership/namespaces.ts";
import type { MeshView } from "../../view/view.ts";
import { actionOf, type AuthorizationPolicy } from "./policies.ts";
import { policiesRead } from "./policy-levels.ts";
import { asksForHttp } from "./rules.ts";
import { acceptingTokensInNamespace, type RequestAuthentication } from "./token-checks.ts";

// Where a port declares TCP, TLS or a database protocol, proxies do not parse HTTP: they drop ALLOW rules with attributes of
// HTTP and leave these out of DENY rules (Istio pilot/pkg/security/authz/model/model.go Generate), ask no provider over HTTP
// (pilot/pkg/security/authz/builder/builder.go), and check no tokens (pilot/pkg/security/authn/policy_applier.go JwtFilter).

export type DecidesByHttp = AuthorizationPolicy | RequestAuthentication;

export interface LossWithoutHttp {
  readonly by: DecidesByHttp;
  /** A predicate: "checks no tokens there". */
  readonly what: string;
}

/** What `lossesWithoutHttp` reads. */
export const decidingByHttp = [policiesRead, acceptingTokensInNamespace] as const;

/**
 * What the objects of a namespace no longer do at a port that is TCP from now on, those for which `decides` is true: one
 * example of each loss, because there may be as many policies as ports.
 */
export function lossesWithoutHttp(
  namespace: Namespace,
  mesh: MeshView<(typeof decidingByHttp)[number]>,
  decides: (object: DecidesByHttp) => boolean,
): readonly LossWithoutHttp[] {
  const losses = [
    ...mesh.related(policiesRead, namespace).filter(decides).flatMap(lossOf),
    ...mesh
      .related(acceptingTokensInNamespace, namespace)
      .filter(decides)
      .map((by) => ({ by, what: "checks no tokens there" })),
  ];
  return [...new Map(losses.toReversed().map((loss) => [loss.what, loss])).values()].reverse();
}

function lossOf(by: AuthorizationPolicy): readonly LossWithoutHttp[] {
  const action = actionOf(by);
  if (action === "CUSTOM") return [{ by, what: "asks no provider over HTTP there" }];
  if (action === "AUDIT" || !by.spec.rules.some(asksForHttp)) return [];
  return action === "DENY"
    ? [{ by, what: "denies there by its other fields alone" }]
    : [{ by, what: "allows nothing there by its rules with attributes of HTTP" }];
}
