import { defineRule, type Problem } from "../../engine/rule.ts";
import { idOf } from "../../kube/identity.ts";
import { authorization, type NamespaceAuthorization } from "../../mesh/authorization/effective-authorization.ts";
import { actionOf, type AuthorizationPolicy } from "../../mesh/authorization/policies.ts";
import type { Applied } from "../../mesh/authorization/requests/applied.ts";
import { identityAskedBy, identityDeniedBy } from "../../mesh/authorization/requests/identity-asked.ts";
import type { Arrival } from "../../mesh/client-tls/arrivals.ts";
import { hiddenClients } from "../../mesh/client-tls/hidden-clients.ts";
import { type TlsPath, tlsPathsInto, writtenBy } from "../../mesh/client-tls/paths.ts";
import { isTerminating } from "../../mesh/membership/namespaces.ts";
import { isProxy } from "../../mesh/membership/workloads.ts";
import { hostOfRule } from "../../mesh/traffic/destination-rules.ts";
import type { MeshSettings } from "../../view/settings.ts";

export const destinationRuleDropsIdentity = defineRule({
  id: "destination-rule-drops-identity",
  subject: "Namespace",
  reads: [tlsPathsInto, hiddenClients, authorization],
  worksWithout: ["BackendTLSPolicy", "KubernetesGateway", "Service", "ServiceEntry", "Sidecar", "VirtualService"],
  mode: "warn",
  since: "0.1.0",
  stage: "trial",
  tags: ["mtls", "authorization"],
  summary:
    "A DestinationRule makes clients send plaintext to workloads whose policies allow only callers with an identity, or deny those without one.",
  why: "Principals, namespaces and service accounts come from the client certificate of the mesh (Istio pilot/pkg/security/authz/model/generator.go). Clients that a DestinationRule makes send plaintext have none (pilot/pkg/networking/core/cluster_tls.go buildUpstreamTLSSettings), so that no ALLOW rule that names some matches them, and each DENY rule that only leaves some out (`notPrincipals`, `notNamespaces`) does. A workload that is not STRICT accepts their connections all the same, and answers each request with 403.",
  fix: "Remove `tls` from the DestinationRule, so that auto mTLS applies, or set its mode to ISTIO_MUTUAL. If these clients cannot use mTLS, allow them by something else than their identity, such as a token.",
  incident: {
    symptoms: ["access-denied"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "All requests of clients that use the DestinationRule get `RBAC: access denied`, although the policy names them, and those of other clients succeed.",
    wayOut: "Remove `tls` from the DestinationRule, or delete it: clients have their identity again within seconds.",
    silentWhen:
      "The DestinationRule sets TLS of other certificates (destination-rule-tls-not-accepted); some rule that applies to the workloads allows a caller without an identity, if only for one path or port; nothing is allowed anyway; a DENY policy refuses such callers for some paths or ports only; the workloads are STRICT (destination-rule-tls-breaks-strict), have mode DISABLE (authorization-policy-needs-mtls) or no sidecar; or Sidecars hide the host from all clients of the DestinationRule.",
    page: "https://istio.io/latest/docs/ops/common-problems/security-issues/",
  },

  *check(namespace, mesh) {
    if (isTerminating(namespace)) return;
    const paths = mesh.get(tlsPathsInto, namespace);
    if (paths.length === 0) return;
    const there = mesh.get(authorization, namespace);
    const named = new Set<Refusal>();
    for (const path of paths) {
      yield;
      const refusal = path.tls === "plaintext" ? refusalOf(path.arrivals, there) : undefined;
      if (refusal === undefined) continue;
      const hidden = mesh.get(hiddenClients, path.rule).ofAll(namespace.metadata.name, path.arrivals);
      if ([...path.clients].flat().every((client) => hidden.has(client))) continue;
      yield {
        ...problemOf(path, refusal, mesh.settings),
        ...(named.has(refusal) ? {} : { alsoFor: refusal.hosts }),
      };
      named.add(refusal);
    }
  },
});

/** Workloads that refuse callers without an identity, and the policies for which only others may come in. */
interface Refusal {
  /** Their hosts, of which a further one refuses requests anew, although others do already. Another version behind a host does not. */
  readonly hosts: readonly string[];
  readonly policies: readonly AuthorizationPolicy[];
}
const refusals = new WeakMap<readonly Arrival[], { there: NamespaceAuthorization; refusal: Refusal | undefined }>();

/** The result is stored, because many paths share their arrivals. */
function refusalOf(arrivals: readonly Arrival[], there: NamespaceAuthorization): Refusal | undefined {
  let known = refusals.get(arrivals);
  if (known?.there !== there) refusals.set(arrivals, (known = { there, refusal: foundIn(arrivals, there) }));
  return known.refusal;
}

function foundIn(arrivals: readonly Arrival[], there: NamespaceAuthorization): Refusal | undefined {
  const hosts = new Set<string>();
  // Workloads with the same policies share the list.
  const lists = new Set<readonly AuthorizationPolicy[]>();
  for (const { capture, server, workloads, destination } of arrivals) {
    // Where mTLS is disabled, no caller has an identity, whatever a DestinationRule says.
    if (capture !== "sidecar" || server?.mode !== "PERMISSIVE") continue;
    for (const workload of workloads) {
      const asking = isProxy(workload) ? [] : refusing(there.applied.toWorkload(workload));
      if (asking.length === 0) continue;
      hosts.add(destination.host);
      lists.add(asking);
    }
  }
  return hosts.size === 0 ? undefined : { hosts: [...hosts], policies: [...new Set([...lists].flat())] };
}

/** Those that allow only callers with an identity, or that deny all others. */
function refusing(applied: Applied): readonly AuthorizationPolicy[] {
  const asking = identityAskedBy(applied);
  return asking.length > 0 ? asking : identityDeniedBy(applied);
}

function problemOf(path: TlsPath, { policies }: Refusal, settings: MeshSettings): Problem {
  const by = writtenBy(path);
  const { subset, port } = path.choice;
  const where = `${subset === undefined ? "" : ` in subset ${JSON.stringify(subset)}`}${port === undefined ? "" : ` at port ${port}`}`;
  const [first, ...others] = policies;
  const objects = first === undefined ? [by] : [by, first];
  const isDenied = policies.some((policy) => actionOf(policy) === "DENY");
  const verb = isDenied ? "refuse" : "allow";
  const does = others.length === 0 ? `${verb}s` : `and ${others.length} more ${verb}`;
  const whom = isDenied ? "callers that have none" : "only callers that have one";
  return {
    at: [],
    message: `${idOf(by)} makes clients use plaintext for ${JSON.stringify(hostOfRule(path.rule, settings))}${where}, so that they have no identity, and ${objects.slice(1).map(idOf).join("")} ${does} ${whom}: their requests are refused`,
    key: JSON.stringify([idOf(by), subset, port]),
    related: objects,
    evidence: objects,
    topic: `plaintext by ${idOf(by)}`,
  };
}
