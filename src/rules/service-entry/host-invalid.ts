import { defineRule } from "../../engine/rule.ts";
import { isPartialWildcard, isTlsProtocol, refusedHosts } from "../../mesh/traffic/service-entry-hosts.ts";

export const serviceEntryHostInvalid = defineRule({
  id: "service-entry-host-invalid",
  subject: "ServiceEntry",
  reads: [],
  mode: "deny",
  since: "0.1.0",
  summary: "A host of a ServiceEntry is one that Istio or Envoy refuses.",
  why: "The validation webhook of istiod refuses the object (Istio pkg/config/validation/validation.go ValidateServiceEntry). A wildcard that starts within a label, such as `*-api.example.com`, gets only a warning there, but Envoy refuses the listener of a TLS port with it, so that every proxy that the host is exported to keeps its old listener, and new proxies do not become ready.",
  fix: "Write DNS names, or a wildcard that starts with `*.`, and give a wildcard with resolution DNS an endpoint.",
  incident: {
    symptoms: ["api-refused", "config-refused"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "`kubectl apply` fails with a message of `validation.istio.io`. A wildcard within a label is accepted, and then proxies keep their old listeners and new ones do not become ready.",
    wayOut: "Delete the ServiceEntry, or remove the host: proxies accept their listeners again within seconds.",
    silentWhen: "A wildcard within a label without a TLS port, for which istiod only warns.",
    page: "https://istio.io/latest/docs/reference/config/networking/service-entry/",
  },

  *check(entry) {
    const { hosts, ports, resolution } = entry.spec;
    const refused = refusedHosts(entry);
    yield* refused;
    if (resolution === "DYNAMIC_DNS" || !ports.some(({ protocol }) => isTlsProtocol(protocol))) return;
    const known = new Set(refused.map(({ at }) => at.join(".")));
    for (const [i, host] of hosts.entries())
      if (isPartialWildcard(host) && !known.has(`spec.hosts.${i}`))
        yield {
          at: ["spec", "hosts", i],
          message: `Envoy refuses the TLS listener of every proxy with the host ${JSON.stringify(host)}, a wildcard that starts within a label`,
          onlyWarns: "istiod accepts it, and a port that no client uses has no listener",
          fix: "Write a wildcard that starts with `*.`, or list the hosts.",
        };
  },
});
