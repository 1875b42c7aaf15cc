import type { Listener } from "./listener-gateways.ts";

const routesGroup = "gateway.networking.k8s.io";

const kindsByProtocol: Readonly<Record<string, readonly string[]>> = {
  HTTP: ["HTTPRoute", "GRPCRoute"],
  HTTPS: ["HTTPRoute", "GRPCRoute"],
  TCP: ["TCPRoute"],
  TLS: ["TLSRoute"],
};

function kindsOfProtocol({ protocol = "", tls }: Listener): readonly string[] {
  const ofProtocol = Object.hasOwn(kindsByProtocol, protocol) ? (kindsByProtocol[protocol] ?? []) : [];
  return protocol === "TLS" && tls?.mode === "Terminate" ? [...ofProtocol, "TCPRoute"] : ofProtocol;
}

/**
 * The kinds of routes that a listener can have: those of its protocol, of which it can allow fewer (Istio
 * pilot/pkg/config/kube/gatewaycommon/conversion.go GenerateGatewaySupportedKinds).
 */
export function kindsOf(listener: Listener): readonly string[] {
  const supported = kindsOfProtocol(listener);
  const allowed = listener.allowedRoutes?.kinds ?? [];
  if (allowed.length === 0) return supported;
  return supported.filter((kind) =>
    allowed.some((one) => one.kind === kind && (one.group ?? routesGroup) === routesGroup),
  );
}

/** A kind that a listener allows and cannot have. */
export interface UnsupportedKind {
  /** Its position in `allowedRoutes.kinds`. */
  readonly i: number;
  readonly kind: string;
  /** What is wrong, after the name of the listener. */
  readonly words: string;
}

/** For these, the listener has the reason InvalidRouteKinds in its status; it has the other kinds that it allows (ReportListenerCondition). */
export function unsupportedKinds(listener: Listener): readonly UnsupportedKind[] {
  const supported = new Set(kindsOfProtocol(listener));
  const allowed = listener.allowedRoutes?.kinds ?? [];
  const isNone = allowed.length > 0 && kindsOf(listener).length === 0;
  return allowed.flatMap(({ group = routesGroup, kind }, i) => {
    if (group === routesGroup && supported.has(kind)) return [];
    const named = group === routesGroup ? kind : `${kind} of group ${JSON.stringify(group)}`;
    const words = `allows ${named}, which a listener for ${listener.protocol} cannot have${isNone ? ", and nothing else that it can" : ""}`;
    return [{ i, kind: named, words }];
  });
}

/** What to do about it. */
export const fixOfKinds =
  "Allow kinds of routes that the protocol can have, or change the protocol: HTTP and HTTPS have HTTPRoutes and GRPCRoutes, TLS has TLSRoutes, TCP has TCPRoutes.";
