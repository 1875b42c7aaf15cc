import { defineRule } from "../../engine/rule.ts";
import { gatewayRefusalsOf } from "../../mesh/gateways/gateway-validation.ts";

export const gatewayServerInvalid = defineRule({
  id: "gateway-server-invalid",
  subject: "Gateway",
  reads: [],
  mode: "deny",
  since: "0.1.0",
  tags: ["gateway"],
  summary: "Istio rejects the Gateway because a server is invalid.",
  why: "The validation webhook of istiod rejects it (Istio pkg/config/validation/validation.go ValidateGateway). If that webhook is unavailable, not installed or set to Ignore, the Gateway is stored, and istiod ignores it or sends Envoy a listener that Envoy refuses: then all servers of that port keep their old configuration, those of other Gateways too, and new gateway pods have none. `*/*` in front of a host such as `./shop.example.com` passes that webhook, and istiod ends with an error as soon as a gateway has the server (pilot/pkg/model/gateway.go sanitizeServerHostNamespace): it restarts again and again, and no proxy of the mesh gets any change.",
  fix: "Correct the field, or remove it.",
  incident: {
    symptoms: ["api-refused", "config-refused"],
    proxies: ["gateway"],
    seen: "`kubectl apply` fails with a message of `validation.istio.io`. Where that webhook does not answer, the gateway keeps its old configuration for the whole port, and new gateway pods do not serve it. After `*/*` in front of other hosts, istiod is in CrashLoopBackOff with `index out of range`, and new pods of the whole mesh do not become ready.",
    wayOut: "Apply the previous version of the Gateway, or delete it. istiod recovers by itself then.",
    silentWhen: "The Gateway is valid for istiod and in conflict with another one: gateway-conflict reports that.",
    page: "https://istio.io/latest/docs/reference/config/networking/gateway/",
  },

  *check(gateway) {
    for (const refusal of gatewayRefusalsOf(gateway)) yield refusal;
  },
});
