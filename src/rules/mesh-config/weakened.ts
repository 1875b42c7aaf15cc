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
  summary: "The mesh config moves the root namespace, turns auto mTLS off or trusts more trust domains.",
  why: "Mesh-wide policies count only in the root namespace (Istio pilot/pkg/model/authentication.go, authorization.go); without auto mTLS clients send plaintext to whatever takes it (pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings); a trust domain alias lets identities of another domain pass for one's own (pilot/pkg/security/trustdomain/bundle.go).",
  fix: "Copy the mesh-wide policies into the new root namespace before moving it, give every host a DestinationRule with ISTIO_MUTUAL before turning auto mTLS off, and add an alias only for a domain whose certificate authority is as trustworthy as this one's.",

  *compare(before, after) {
    const [old, now] = [before.object.mesh, after.object.mesh];
    const { rootNamespace: otherwise } = defaultMeshSettings;
    const [from, to] = [old.rootNamespace || otherwise, now.rootNamespace || otherwise];
    if (from !== to)
      yield {
        at,
        message: `The root namespace moves from ${from} to ${to}: mesh-wide policies in ${from} no longer count`,
      };
    if ((old.enableAutoMtls ?? true) && now.enableAutoMtls === false)
      yield { at, message: "Auto mTLS is turned off: clients send plaintext where no DestinationRule says otherwise" };
    for (const alias of new Set(now.trustDomainAliases))
      if (!old.trustDomainAliases.includes(alias) && alias !== old.trustDomain)
        yield { at, message: `Identities of trust domain ${JSON.stringify(alias)} pass for the mesh's own` };
  },
});
