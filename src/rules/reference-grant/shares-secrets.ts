import { defineRule } from "../../engine/rule.ts";
import { gatewayApiGroup } from "../../mesh/objects/labels.ts";

export const referenceGrantSharesSecrets = defineRule({
  id: "reference-grant-shares-secrets",
  subject: "ReferenceGrant",
  reads: [],
  mode: { protected: "warn", elsewhere: "off" },
  onlyOwnChanges: true,
  since: "0.1.0",
  stage: "trial",
  tags: ["gateway"],
  summary: "A ReferenceGrant lets Gateways of another namespace use the Secrets of this one.",
  why: "A Gateway in that namespace may then serve TLS with the certificate and key of such a Secret (Istio pilot/pkg/config/kube/gatewaycommon/references.go SecretAllowed), so that whoever may write Gateways there answers for the hosts of the certificate. istiod sends the key to the pods of the Gateway, where whoever may run commands in them can read it.",
  fix: "Name the one Secret in `to`, and allow only a namespace in which nobody but the owners of the gateway may write Gateways.",
  incident: {
    symptoms: ["other-destination"],
    proxies: ["gateway"],
    seen: "Clients of the host reach a Gateway of another team, and its certificate is valid.",
    wayOut: "Delete the ReferenceGrant: istiod takes the certificate away from the Gateways of other namespaces.",
    silentWhen: "The grant is for routes and their Services, or for the namespace itself.",
    page: "https://gateway-api.sigs.k8s.io/api-types/referencegrant/",
  },

  *check({ metadata, spec }) {
    const secrets = new Set(
      spec.to
        .filter(({ group, kind }) => group === "" && kind === "Secret")
        .map(({ name = "" }) =>
          name === "" ? `every Secret of namespace ${metadata.namespace}` : `Secret ${metadata.namespace}/${name}`,
        ),
    );
    if (secrets.size === 0) return;
    for (const [i, { group, kind, namespace }] of spec.from.entries())
      if (group === gatewayApiGroup && listening.has(kind) && namespace !== metadata.namespace)
        for (const secret of secrets)
          yield {
            at: ["spec", "from", i],
            message: `${kind}s of namespace ${JSON.stringify(namespace)} may use the key of ${secret}`,
          };
  },
});

/** The kinds with listeners that use certificates. */
const listening: ReadonlySet<string> = new Set(["Gateway", "ListenerSet"]);
