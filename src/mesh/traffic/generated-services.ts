import type { MeshSettings } from "../../view/settings.ts";
import { index } from "../../view/view.ts";
import { type KubernetesGateway, namesOfGeneratedService } from "../membership/gateways.ts";
import { isServed } from "../objects/revision.ts";

const generated = (gateway: KubernetesGateway, settings: MeshSettings): readonly string[] =>
  isServed(gateway, settings) ? namesOfGeneratedService(gateway, settings) : [];

/** Gateways of the Gateway API by the Service that istiod may create for them, as `namespace/name`. */
export const gatewayByGeneratedService = index("KubernetesGateway", (gateway, settings) =>
  generated(gateway, settings).map((name) => `${gateway.metadata.namespace}/${name}`),
);

/** The same by the host of that Service. Its ports are those of the listeners, and not asked for. */
export const gatewayByGeneratedHost = index("KubernetesGateway", (gateway, settings) =>
  generated(gateway, settings).map((name) => `${name}.${gateway.metadata.namespace}.svc.${settings.domain}`),
);
