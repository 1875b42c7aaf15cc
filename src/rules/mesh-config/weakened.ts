import { defineRule } from "../../engine/rule.ts";
import { defaultMeshSettings } from "../../view/settings.ts";

const at = ["data", "mesh"];

export const meshConfigWeakened = defineRule({
  id: "mesh-config-weakened",
  subject: "MeshConfig",
  reads: [],
  mode: "warn",
  since: "0.1.0",
  tags: ["mtls", "authorization"],
  summary: "The mesh config moves the root namespace, disables auto mTLS or adds a trust domain alias.",
  why: "Mesh-wide policies have an effect only in the root namespace (Istio pilot/pkg/model/authentication.go, authorization.go); without auto mTLS, clients send plaintext unless a DestinationRule sets TLS (pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings); with a trust domain alias, identities of another domain are treated as identities of the mesh (pilot/pkg/security/trustdomain/bundle.go).",
  fix: "Copy the mesh-wide policies into the new root namespace before moving it, give every host a DestinationRule with ISTIO_MUTUAL before disabling auto mTLS, and add an alias only for a domain whose certificate authority is as trustworthy as that of this mesh.",

  *compare(before, after) {
    const [old, now] = [before.object.mesh, after.object.mesh];
    const { rootNamespace: otherwise } = defaultMeshSettings;
    const [from, to] = [old.rootNamespace || otherwise, now.rootNamespace || otherwise];
    if (from !== to)
      yield {
        at,
        message: `The root namespace moves from ${from} to ${to}: mesh-wide policies in ${from} no longer have an effect`,
        fix: `Copy the mesh-wide policies from namespace ${from} to ${to} before moving the root namespace.`,
      };
    if ((old.enableAutoMtls ?? true) && now.enableAutoMtls === false)
      yield {
        at,
        message: "Auto mTLS is disabled: clients send plaintext unless a DestinationRule sets TLS",
        fix: "Keep auto mTLS, or give every host a DestinationRule with ISTIO_MUTUAL before disabling it.",
      };
    for (const alias of new Set(now.trustDomainAliases))
      if (!old.trustDomainAliases.includes(alias) && alias !== old.trustDomain)
        yield {
          at,
          message: `Identities of trust domain ${JSON.stringify(alias)} are treated as identities of the mesh`,
          fix: "Add an alias only for a trust domain whose certificate authority is as trustworthy as that of this mesh.",
        };
  },
});
