import type { MeshSettings } from "../../view/settings.ts";
import { inboundBindingOf, type KubernetesGateway } from "../membership/gateways.ts";
import type { Namespace } from "../membership/namespaces.ts";
import { type LabelSelector, selectsByExpression } from "../objects/selectors.ts";

interface Attaching {
  readonly name: string;
  /** The Namespace, if it is known. */
  readonly of: Namespace | undefined;
  readonly settings: MeshSettings;
}

/**
 * Whether the listener of the waypoint accepts a namespace; by default it accepts only its own (AllowsAttachmentFromNamespace). Undefined:
 * that depends on labels which the view does not contain.
 */
export function isAttachable(
  gateway: KubernetesGateway,
  { name: namespace, of, settings }: Attaching,
): boolean | undefined {
  const { from, selector, selected } = allowedNamespaces(gateway, inboundBindingOf(gateway, settings));
  if (from === "All") return true;
  if (from !== "Selector") return gateway.metadata.namespace === namespace;
  if (selector === undefined) return false;
  if (of === undefined || of.implied) return undefined;
  let isSelected = selected.get(of);
  if (isSelected === undefined) selected.set(of, (isSelected = selectsByExpression(selector, of.metadata.labels)));
  return isSelected;
}

/** Whether something in a namespace can use the waypoint, as far as is known. */
export const mayAttach = (gateway: KubernetesGateway, attaching: Attaching): boolean =>
  isAttachable(gateway, attaching) !== false;

interface AllowedNamespaces {
  readonly binding: string | undefined;
  readonly from: string | undefined;
  readonly selector: LabelSelector | undefined;
  readonly selected: WeakMap<Namespace, boolean>;
}
/** Gateways never change, and one can be the waypoint of many Services. */
const allowed = new WeakMap<KubernetesGateway, AllowedNamespaces>();

function allowedNamespaces(gateway: KubernetesGateway, binding: string | undefined): AllowedNamespaces {
  let found = allowed.get(gateway);
  if (found === undefined || found.binding !== binding) {
    const { listeners } = gateway.spec;
    const hbone = listeners.find(({ protocol, port }) => protocol === "HBONE" && port === 15008);
    const listener = boundListener(listeners, binding) ?? hbone;
    const { from, selector } = listener?.allowedRoutes?.namespaces ?? { from: undefined, selector: undefined };
    allowed.set(gateway, (found = { binding, from, selector, selected: new WeakMap() }));
  }
  return found;
}

/**
 * The listener that an annotation names by `protocol/port` or by its protocol, in place of the one for HBONE (makeInboundBinding,
 * findBoundListener).
 */
function boundListener(listeners: KubernetesGateway["spec"]["listeners"], binding = "") {
  const [protocol, port = "", ...others] = binding.split("/");
  if ((protocol !== "NONE" && protocol !== "PROXY") || others.length > 0) return undefined;
  const number = /^[0-9]+$/.test(port) ? Number(port) : 0;
  if (number !== 0) return listeners.find((one) => one.port === number);
  return protocol === "PROXY" ? listeners.find((one) => one.protocol === "istio.io/PROXY") : undefined;
}
