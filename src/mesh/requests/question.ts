import type { ObjectOf } from "../../kube/object.ts";
import type { Box } from "../authorization/requests/boxes.ts";
import type { Namespace } from "../membership/namespaces.ts";
import type { Service } from "../membership/services.ts";
import type { Workload } from "../membership/workloads.ts";
import type { VirtualService } from "../traffic/virtual-services.ts";

/**
 * Who sends the requests.
 * - `workload`: the pods of one workload.
 * - `serviceAccount`: any pod that runs with it.
 * - `namespace`: any pod of the namespace that is no proxy of a gateway.
 * - `mesh`: anybody with a certificate of the mesh. Configuration for clients of one namespace counts for that namespace.
 * - `outside`: somebody without a certificate and without a sidecar.
 * - `ingress`: the proxies of these ingress gateways.
 */
export type Caller =
  | { readonly kind: "workload"; readonly workload: Workload; readonly namespace: Namespace }
  | { readonly kind: "serviceAccount"; readonly namespace: Namespace; readonly name: string }
  | { readonly kind: "namespace"; readonly namespace: Namespace }
  | { readonly kind: "mesh" }
  | { readonly kind: "outside" }
  | { readonly kind: "ingress"; readonly proxies: readonly GatewayProxy[] };

/** The proxy of an ingress gateway: a workload, or a Gateway of the Gateway API whose workload is not known. */
export interface GatewayProxy {
  /** In messages: `Deployment istio-system/istio-ingressgateway`. */
  readonly name: string;
  readonly namespace: Namespace;
  readonly serviceAccount: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly workload: Workload | undefined;
}

/**
 * Another name of a Service than its full host, such as `api.payments`, and the VirtualServices that have this name as a host of HTTP
 * requests to the port.
 */
export interface OtherName {
  readonly host: string;
  readonly virtualServices: readonly VirtualService[];
}

/** What the requests are sent to. */
export type Target =
  /** A port of a Service, by its number. `called`: the name that clients send the requests to, if it is another one than the host. */
  | {
      readonly kind: "service";
      readonly service: Service;
      readonly namespace: Namespace;
      readonly port: number;
      readonly called?: OtherName;
    }
  /**
   * A port of a host that no Service has, by its number: of one outside the mesh, or of one that ServiceEntries define. `entries`: those
   * with a name for it, of any namespace. `namespace`: that of the first of them, or of whoever asks.
   */
  | {
      readonly kind: "host";
      readonly host: string;
      readonly entries: readonly ObjectOf<"ServiceEntry">[];
      readonly namespace: Namespace;
      readonly port: number;
    }
  /** A port of pods, by their own address, so that nothing routes the requests. `port` is the number at the pod. */
  | {
      readonly kind: "workloads";
      readonly workloads: readonly Workload[];
      readonly namespace: Namespace;
      readonly port: number;
    };

/**
 * A set of requests. `requests` has conditions on what the caller decides: method, path, host, headers, the token and its
 * claims, and addresses. The caller's identity and the port follow from `caller` and `to`; a condition on the identity
 * restricts it further, such as to everybody but the callers that are named elsewhere.
 */
export interface Question {
  readonly caller: Caller;
  readonly to: Target;
  readonly requests: Box;
}
