import type { Namespace } from "../membership/namespaces.ts";
import type { MeshView } from "../../view/view.ts";
import { actionOf, type AuthorizationPolicy } from "./policies.ts";
import { policiesRead } from "./policy-levels.ts";
import { asksForRequest } from "./rules.ts";
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

/** What the objects of a namespace, those for which `decides` is true, no longer do at ports that are TCP from now on. */
export function lossesWithoutHttp(
  namespace: Namespace,
  mesh: MeshView<(typeof decidingByHttp)[number]>,
  decides: (object: DecidesByHttp) => boolean,
): LossesWithoutHttp {
  const losses = new LossesWithoutHttp();
  for (const policy of mesh.related(policiesRead, namespace).filter(decides)) addLossOf(policy, losses);
  for (const by of mesh.related(acceptingTokensInNamespace, namespace).filter(decides))
    losses.add({ by, what: "checks no tokens there" }, anyPort);
  return losses;
}

const anyPort: readonly Port[] = [undefined];

/** Losses by their ports, one example of each, because there may be as many policies as ports. */
export class LossesWithoutHttp {
  /** For each port, or undefined for all, by their predicates. */
  readonly #byPort = new Map<Port, Map<string, LossWithoutHttp>>();

  add(loss: LossWithoutHttp, ports: Iterable<Port>): void {
    for (const port of ports) {
      let known = this.#byPort.get(port);
      if (known === undefined) this.#byPort.set(port, (known = new Map()));
      if (!known.has(loss.what)) known.set(loss.what, loss);
    }
  }

  /** Those at one of some ports, by the numbers that policies compare. */
  at(ports: readonly string[] | "any"): readonly LossWithoutHttp[] {
    const found = new Map<string, LossWithoutHttp>();
    for (const port of ports === "any" ? this.#byPort.keys() : [undefined, ...ports])
      for (const [what, loss] of this.#byPort.get(port) ?? []) if (!found.has(what)) found.set(what, loss);
    return [...found.values()];
  }
}

function addLossOf(by: AuthorizationPolicy, losses: LossesWithoutHttp): void {
  const action = actionOf(by);
  if (action === "AUDIT") return;
  const rules = action === "CUSTOM" ? by.spec.rules : by.spec.rules.filter(asksForRequest);
  losses.add({ by, what: lostBy(action) }, new Set(rules.flatMap(portsOf)));
}

function lostBy(action: string): string {
  if (action === "CUSTOM") return "asks no provider over HTTP there";
  return action === "DENY"
    ? "denies there by its other fields alone"
    : "allows nothing there by its rules with attributes of HTTP";
}

type Port = string | undefined;
type Rule = AuthorizationPolicy["spec"]["rules"][number];

/** The ports that a rule is limited to, whatever proxies parse at others; undefined among them: it can be any. */
const portsOf = ({ to }: Rule): readonly Port[] =>
  to.length === 0
    ? anyPort
    : to.flatMap(({ operation: { ports } }): readonly Port[] => (ports.length === 0 ? anyPort : ports));
