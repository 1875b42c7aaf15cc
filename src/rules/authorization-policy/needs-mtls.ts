import { absent, type Evidence } from "../../engine/evidence.ts";
import { defineRule, type Problem } from "../../engine/rule.ts";
import { actionOf, type AuthorizationPolicy, isEnforced, targetRefsOf } from "../../mesh/authorization/policies.ts";
import { namesIdentities, sparesByIdentity } from "../../mesh/authorization/rule-identities.ts";
import { type HiddenCaller, hiddenCallers } from "../../mesh/client-tls/hidden-callers.ts";
import { portsOfProbes } from "../../mesh/membership/interception.ts";
import { isTerminating, type Namespace } from "../../mesh/membership/namespaces.ts";
import { acceptsPlaintext, mtls, type NamespaceMtls, planesOfNamespace } from "../../mesh/mtls/effective-mtls.ts";
import type { EffectiveMode, Modes } from "../../mesh/mtls/peer-authentications.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { index, relation } from "../../view/view.ts";

type Rule = AuthorizationPolicy["spec"]["rules"][number];

/** A policy for workloads that names identities, and its namespace, whose PeerAuthentications decide whether callers have one. */
const namespaceOfIdentityPolicy = relation(
  "namespaceOfIdentityPolicy",
  index("AuthorizationPolicy", (policy, settings) =>
    targetRefsOf(policy).length === 0 &&
    isEnforced(policy, settings) &&
    policy.spec.rules.some((rule) => namesIdentities(rule) || (actionOf(policy) === "DENY" && sparesByIdentity(rule)))
      ? [policy.metadata.namespace]
      : [],
  ),
  namespaceByName,
);

export const authorizationPolicyNeedsMtls = defineRule({
  id: "authorization-policy-needs-mtls",
  subject: "AuthorizationPolicy",
  reads: [namespaceOfIdentityPolicy, mtls, hiddenCallers],
  worksWithout: ["KubernetesGateway", "Service", "ServiceEntry", "Sidecar", "VirtualService", "Workload"],
  mode: "warn",
  since: "0.1.0",
  tags: ["authorization", "mtls"],
  summary: "A policy names callers by their identity, and they or others come without one.",
  why: "Principals, namespaces, service accounts and trust domains come from the client certificate, so a request in plaintext has none (Istio pilot/pkg/security/authz/model/generator.go). A DENY rule that names them does not match such a request: whoever calls without a proxy gets around it. Where mTLS is disabled no caller has an identity, and an ALLOW rule that names some allows nobody. A DENY rule that only leaves some out (`notPrincipals`, `notNamespaces`) matches requests without an identity, so there it refuses everybody. A sidecar knows only Services that are exported to its namespace and that its Sidecar imports: what it sends elsewhere goes out as it is, or is refused with REGISTRY_ONLY (pilot/pkg/model/push_context.go servicesExportedToNamespace, pilot/pkg/model/sidecar.go collectImportedServices).",
  fix: "Require mTLS first: a PeerAuthentication with mode STRICT for these workloads. Or deny what is not allowed with an ALLOW policy, which plaintext does not get around.",
  incident: {
    symptoms: ["open-access", "access-denied"],
    proxies: ["sidecar", "ztunnel"],
    seen: "A caller without a proxy gets an answer that the DENY rule should refuse. Where mTLS is disabled, every caller of an ALLOW rule gets 403, and everybody whom a DENY rule was to leave out.",
    wayOut:
      "Name what is allowed in an ALLOW policy: callers in plaintext match none of its identities. Then require mTLS when no caller in plaintext is left.",
    silentWhen:
      "The policy is in the root namespace, it is not certain that the workloads are in the mesh, or the DENY rule names only identities that it excludes (`notNamespaces`), which callers without an identity match, and mTLS is not disabled. Of callers that do not know a Service, it finds those of a namespace that has only sidecars, and none if some Service leads them to the workloads.",
    page: "https://istio.io/latest/docs/reference/config/security/authorization-policy/",
  },

  *check(policy, mesh) {
    const [namespace] = mesh.related(namespaceOfIdentityPolicy, policy);
    // The root namespace has policies for other namespaces.
    if (namespace === undefined || isTerminating(namespace) || isRoot(namespace, mesh.settings)) return;
    const modes = modesFor(policy, namespace, mesh.get(mtls, namespace), mesh.settings);
    const judge = judging(actionOf(policy) === "DENY", modes);
    for (const [i, rule] of policy.spec.rules.entries()) {
      const said = judge(rule);
      if (said === undefined) continue;
      const { by, ...rest } = said;
      yield {
        at: ["spec", "rules", i],
        ...rest,
        evidence: evidenceOf(by, namespace.metadata.name, mesh.settings.rootNamespace),
      };
    }
    yield* ofHidden(mesh.get(hiddenCallers, policy));
  },
});

/** Once for each namespace: at the first value that names callers of it. */
function* ofHidden(hidden: readonly HiddenCaller[]): Iterable<Problem> {
  const named = new Set<string>();
  for (const { namespace, at, by } of hidden) {
    if (named.has(namespace)) continue;
    named.add(namespace);
    const why = by === "exportTo" ? "exportTo leaves the namespace out" : "their Sidecar imports none";
    yield {
      at,
      message: `Sidecars of namespace ${JSON.stringify(namespace)} know no Service of these workloads, because ${why}: their requests go past the mesh without an identity, so that this rule allows none`,
      key: `hidden ${by} ${namespace}`,
      fix:
        by === "exportTo"
          ? `Export the Service to namespace ${namespace}: name it in the annotation networking.istio.io/exportTo.`
          : `Add the Service to egress.hosts of the Sidecar for namespace ${namespace}.`,
    };
  }
}

const isRoot = ({ metadata }: Namespace, { rootNamespace }: MeshSettings): boolean => metadata.name === rootNamespace;

/** The modes of workloads with the labels of the selector, for each data plane; none: they are not certain to be in the mesh. */
function modesFor(
  { spec }: AuthorizationPolicy,
  namespace: Namespace,
  modes: NamespaceMtls,
  settings: MeshSettings,
): readonly Modes[] {
  const { planes, isCertain } = planesOfNamespace(namespace, settings);
  // Workloads outside the mesh enforce no policy.
  return isCertain ? planes.map((plane) => modes.of(spec.selector?.matchLabels ?? {}, plane)) : [];
}

/** The ports that a rule is for. */
interface RulePorts {
  /** Undefined: all but those that are excluded. */
  readonly named: readonly number[] | undefined;
  readonly excluded: ReadonlySet<number>;
}

function portsOfRule({ to, when }: Rule): RulePorts {
  const conditions = when.filter(({ key }) => key === "destination.port");
  const [first, ...others] = to.map(({ operation }) => new Set(operation.notPorts.map(Number)));
  const inAll = [...(first ?? [])].filter((port) => others.every((ports) => ports.has(port)));
  const excluded = new Set([...inAll, ...conditions.flatMap(({ notValues }) => notValues.map(Number))]);
  const all = [to.map(({ operation }) => operation.ports), ...conditions.map(({ values }) => [values])];
  const [named, ...also] = all
    .filter((lists) => lists.length > 0 && lists.every((ports) => ports.length > 0))
    .map((lists) => new Set(lists.flat().map(Number)));
  return { named: named && [...named].filter((port) => also.every((ports) => ports.has(port))), excluded };
}

/** A mode at some ports of a rule: at one that a PeerAuthentication lists, or at others. */
interface ModeAt {
  readonly port: number | undefined;
  readonly mode: EffectiveMode;
}

/** Finds a port of a rule with such a mode. */
function finding(all: readonly Modes[], isMeant: (mode: EffectiveMode) => boolean) {
  const listed = all.map(({ ports }) => [...ports].filter(([port, mode]) => !portsOfProbes.has(port) && isMeant(mode)));
  const amongNamed = (named: readonly number[], { mode, ports }: Modes): ModeAt | undefined =>
    named
      .filter((port) => !portsOfProbes.has(port))
      .map((port) => ({ port: ports.has(port) ? port : undefined, mode: ports.get(port) ?? mode }))
      .find((one) => isMeant(one.mode));
  const amongAll = (excluded: ReadonlySet<number>, { mode }: Modes, i: number): ModeAt | undefined => {
    if (isMeant(mode)) return { port: undefined, mode };
    const [port, itsMode] = listed[i]?.find(([one]) => !excluded.has(one)) ?? [];
    return itsMode && { port, mode: itsMode };
  };
  return ({ named, excluded }: RulePorts): ModeAt | undefined =>
    all
      .map((modes, i) =>
        named === undefined
          ? amongAll(excluded, modes, i)
          : amongNamed(
              named.filter((port) => !excluded.has(port)),
              modes,
            ),
      )
      .find((found) => found !== undefined);
}

function judging(isDeny: boolean, modes: readonly Modes[]): (rule: Rule) => Said | undefined {
  const judge = isDeny ? evading(modes) : refused(modes);
  const judgeSparing = spared(modes);
  return (rule) => {
    if (namesIdentities(rule)) return judge(portsOfRule(rule));
    return isDeny && sparesByIdentity(rule) ? judgeSparing(portsOfRule(rule)) : undefined;
  };
}

type Said = Pick<Problem, "message" | "key"> & { readonly by: EffectiveMode["by"] | undefined };

/** A DENY rule does not match callers without an identity, wherever one is let in. */
function evading(modes: readonly Modes[]): (ports: RulePorts) => Said | undefined {
  const findOpen = finding(modes, acceptsPlaintext);
  return (ports) => {
    const open = findOpen(ports);
    if (open === undefined) return undefined;
    const where = open.port === undefined ? "" : ` at port ${open.port}`;
    return {
      message: `Callers in plaintext have no identity and get around this DENY rule${where}: the effective mTLS mode is ${open.mode.mode}`,
      key: `plaintext evades${where}`,
      by: open.mode.by,
    };
  };
}

/** An ALLOW rule matches nobody if no port that it is for accepts mTLS. */
const refused = (modes: readonly Modes[]) =>
  withoutMtls(modes, {
    message: "This rule allows nobody: mTLS is disabled, so no caller has an identity",
    key: "nobody has an identity",
  });

/** A DENY rule matches the callers that it leaves out, too. Where some port accepts mTLS, they can use it. */
const spared = (modes: readonly Modes[]) =>
  withoutMtls(modes, {
    message:
      "This DENY rule leaves out nobody: mTLS is disabled, so no caller has an identity, and those that it was to leave out are refused too",
    key: "nobody is left out",
  });

function withoutMtls(modes: readonly Modes[], said: Omit<Said, "by">): (ports: RulePorts) => Said | undefined {
  const findMtls = finding(modes, ({ mode }) => mode !== "DISABLE");
  const findDisabled = finding(modes, ({ mode }) => mode === "DISABLE");
  return (ports) => {
    const disabled = findDisabled(ports);
    if (disabled === undefined || findMtls(ports) !== undefined) return undefined;
    return { ...said, by: disabled.mode.by };
  };
}

const evidenceOf = (by: EffectiveMode["by"], namespace: string, root: string): readonly Evidence[] =>
  by === undefined ? [absent("PeerAuthentication", namespace), absent("PeerAuthentication", root)] : [by];
