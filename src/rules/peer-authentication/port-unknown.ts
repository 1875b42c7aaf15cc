import { defineRule } from "../../engine/rule.ts";
import { captured } from "../../mesh/membership/captured.ts";
import { type Service, servicesOfNamespace } from "../../mesh/membership/services.ts";
import type { Workload } from "../../mesh/membership/workloads.ts";
import { isWide, portModes } from "../../mesh/mtls/peer-authentications.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { type SelectorGroup, SelectorGroups } from "../../mesh/objects/selector-groups.ts";
import { fact, index, relation } from "../../view/view.ts";

/** A policy with a selector and modes of single ports, and its namespace. */
const namespaceOfPolicyOfPorts = relation(
  "namespaceOfPolicyOfPorts",
  index("PeerAuthentication", (policy, settings) => {
    const isOfPorts = !isWide(policy) && Object.keys(policy.spec.portLevelMtls).length > 0;
    const isRead = isServed(policy, settings) && policy.metadata.namespace !== settings.rootNamespace;
    return isOfPorts && isRead ? [policy.metadata.namespace] : [];
  }),
  namespaceByName,
);

/**
 * The ports at which workloads are known to listen: ports that their containers declare, which is optional, and ports
 * that Services target. A targetPort that is a name is the name of a declared port.
 */
interface Known {
  readonly ports: ReadonlySet<number>;
  /** For some workload no port is known, so it can listen at any. */
  readonly isOpen: boolean;
  /** The Services that select the workloads. */
  readonly services: readonly Service[];
  /** The end of the message for an unknown port: `: it is a port of Service ...`. */
  readonly hints: ReadonlyMap<number, string>;
}

/** The known ports of workloads in one namespace. Policies with the same selector share a result. */
class Listening {
  readonly #order: ReadonlyMap<Service, number>;
  readonly #groups: SelectorGroups<Service>;
  readonly #targets = new Map<SelectorGroup<Service>, ReadonlySet<number>>();
  readonly #known = new Map<readonly Workload[], Known>();

  constructor(services: readonly Service[]) {
    this.#order = new Map(services.map((service, i) => [service, i]));
    const selecting = services.filter(
      ({ spec }) => spec.type !== "ExternalName" && Object.keys(spec.selector).length > 0,
    );
    this.#groups = new SelectorGroups(selecting.map((service) => [service.spec.selector, service] as const));
  }

  of(workloads: readonly Workload[]): Known {
    let known = this.#known.get(workloads);
    if (known === undefined) this.#known.set(workloads, (known = this.#look(workloads)));
    return known;
  }

  #look(workloads: readonly Workload[]): Known {
    const ports = new Set<number>();
    const fronting = new Set<SelectorGroup<Service>>();
    let isOpen = false;
    for (const { pod } of workloads) {
      const groups = this.#groups.selecting(pod.labels);
      for (const group of groups) fronting.add(group);
      for (const { number } of pod.ports) ports.add(number);
      isOpen ||= pod.ports.length === 0 && groups.every((group) => this.#targetsOf(group).size === 0);
    }
    for (const group of fronting) for (const port of this.#targetsOf(group)) ports.add(port);
    const place = (service: Service) => this.#order.get(service) ?? 0;
    const services = [...fronting].flatMap(({ members }) => members).sort((a, b) => place(a) - place(b));
    return { ports, isOpen, services, hints: hintsOf(services) };
  }

  #targetsOf(group: SelectorGroup<Service>): ReadonlySet<number> {
    let targets = this.#targets.get(group);
    if (targets === undefined) {
      const all = group.members.flatMap(({ spec }) => spec.ports).map(({ port, targetPort }) => targetPort || port);
      targets = new Set(all.filter((port) => typeof port === "number"));
      this.#targets.set(group, targets);
    }
    return targets;
  }
}

/** For each port the first Service with this port and another targetPort. */
function hintsOf(services: readonly Service[]): ReadonlyMap<number, string> {
  const hints = new Map<number, string>();
  for (const { metadata, spec } of services) {
    const seen = new Set<number>();
    for (const { port, targetPort } of spec.ports) {
      if (port === undefined || seen.has(port)) continue;
      seen.add(port);
      if (targetPort !== undefined && targetPort !== port && !hints.has(port))
        hints.set(port, `: it is a port of Service ${metadata.name}, whose targetPort is ${targetPort}`);
    }
  }
  return hints;
}

/** The known ports of the workloads of a namespace. */
const listening = fact(
  "listening",
  "Namespace",
  [servicesOfNamespace],
  (namespace, mesh) => new Listening(mesh.related(servicesOfNamespace, namespace)),
);

export const peerAuthenticationPortUnknown = defineRule({
  id: "peer-authentication-port-unknown",
  subject: "PeerAuthentication",
  reads: [namespaceOfPolicyOfPorts, captured, listening],
  worksWithout: ["Service"],
  mode: "warn",
  since: "0.1.0",
  tags: ["mtls"],
  summary: "None of the selected workloads is known to listen on a port in portLevelMtls.",
  why: "The ports in portLevelMtls are those of the pods, not those of the Service (Istio pilot/pkg/security/authn/policy_applier.go GetMutualTLSModeForPort), so the mode applies to no port.",
  fix: "Use the port on which the container listens (the Service's targetPort), or declare it in the container's ports.",
  incident: {
    symptoms: ["reset", "plaintext"],
    proxies: ["sidecar", "ztunnel"],
    seen: "A caller that the port was opened for is reset, or a port that should require mTLS accepts plaintext.",
    wayOut: "Correct the port: it is the targetPort of the Service.",
    silentWhen:
      "No workload that is selected is known, or one of them declares no ports, so that it may listen anywhere.",
    page: "https://istio.io/latest/docs/reference/config/security/peer_authentication/",
  },

  *check(policy, mesh) {
    const [namespace] = mesh.related(namespaceOfPolicyOfPorts, policy);
    if (namespace === undefined) return;
    const workloads = mesh.get(captured, namespace).workloads.selected(policy.spec.selector?.matchLabels ?? {});
    const { ports, isOpen, services, hints } = mesh.get(listening, namespace).of(workloads);
    // Containers are not required to declare their ports.
    if (workloads.length === 0 || isOpen) return;
    for (const port of portModes(policy).keys()) {
      if (ports.has(port)) continue;
      yield {
        at: ["spec", "portLevelMtls", String(port)],
        message: `No workload that this policy selects is known to listen on port ${port}${hints.get(port) ?? ""}`,
        key: `port ${port}`,
        related: services,
        evidence: workloads,
      };
    }
  },
});
