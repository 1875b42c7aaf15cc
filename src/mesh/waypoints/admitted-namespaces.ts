import type { KubernetesGateway } from "../membership/gateways.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { type LabelSelector, selectsByExpression } from "../objects/selectors.ts";

const inboundBinding = "ambient.istio.io/waypoint-inbound-binding";

/**
 * Whether the listener of the waypoint accepts a namespace; by default it accepts only its own (AllowsAttachmentFromNamespace). Undefined:
 * that depends on labels which the view does not contain.
 */
export function isAttachable(
  gateway: KubernetesGateway,
  namespace: string,
  of: Namespace | undefined,
): boolean | undefined {
  const { from, selector, selected } = allowedNamespaces(gateway);
  if (from === "All") return true;
  if (from !== "Selector") return gateway.metadata.namespace === namespace;
  if (selector === undefined) return false;
  if (of === undefined || of.implied) return undefined;
  let isSelected = selected.get(of);
  if (isSelected === undefined) selected.set(of, (isSelected = selectsByExpression(selector, of.metadata.labels)));
  return isSelected;
}

/** Whether something in a namespace can use the waypoint, as far as is known; `of`: the Namespace, if it is known. */
export const mayAttach = (gateway: KubernetesGateway, namespace: string, of: Namespace | undefined): boolean =>
  isAttachable(gateway, namespace, of) !== false;

interface AllowedNamespaces {
  readonly from: string | undefined;
  readonly selector: LabelSelector | undefined;
  readonly selected: WeakMap<Namespace, boolean>;
}
/** Gateways never change, and one can be the waypoint of many Services. */
const allowed = new WeakMap<KubernetesGateway, AllowedNamespaces>();

function allowedNamespaces(gateway: KubernetesGateway): AllowedNamespaces {
  let found = allowed.get(gateway);
  if (found === undefined) {
    const { listeners } = gateway.spec;
    const hbone = listeners.find(({ protocol, port }) => protocol === "HBONE" && port === 15008);
    const listener = boundListener(gateway) ?? hbone;
    const { from, selector } = listener?.allowedRoutes?.namespaces ?? { from: undefined, selector: undefined };
    allowed.set(gateway, (found = { from, selector, selected: new WeakMap() }));
  }
  return found;
}

/**
 * The listener that an annotation names by `protocol/port` or by its protocol, in place of the one for HBONE (makeInboundBinding,
 * findBoundListener). An annotation of the GatewayClass, of which only the controller is read, would count where the Gateway has none.
 */
function boundListener({ metadata, spec: { listeners } }: KubernetesGateway) {
  const [protocol, port = "", ...others] = (metadata.annotations[inboundBinding] ?? "").split("/");
  if ((protocol !== "NONE" && protocol !== "PROXY") || others.length > 0) return undefined;
  const number = /^[0-9]+$/.test(port) ? Number(port) : 0;
  if (number !== 0) return listeners.find((one) => one.port === number);
  return protocol === "PROXY" ? listeners.find((one) => one.protocol === "istio.io/PROXY") : undefined;
}
