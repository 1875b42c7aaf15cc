import { idOf, keyFor, namespaceKey } from "../kube/identity.ts";
import { kinds } from "../kube/kinds.ts";
import type { Gateway } from "../mesh/gateways/servers.ts";
import type { KubernetesGateway } from "../mesh/membership/gateways.ts";
import { namespaceIn } from "../mesh/membership/namespaces.ts";
import { type Workload, workloadsOfNamespace } from "../mesh/membership/workloads.ts";
import { ruleTablesForHost } from "../mesh/gateways/kubernetes-route-tables.ts";
import { ingressHost } from "../mesh/gateways/ingresses.ts";
import { hostIn, isSpokenOf } from "../mesh/traffic/host-definition.ts";
import { fullHost, hostOfService, namespaceOfHost } from "../mesh/traffic/hosts.ts";
import type { ExplanationTarget } from "../report/effects.ts";
import { nearest } from "../text/nearest.ts";
import type { Mesh } from "../view/view.ts";
import type { TargetName } from "./target-name.ts";

/** The target of an explanation, by its full name, which can be looked up in other meshes too. */
export type Target =
  | { readonly kind: "namespace"; readonly name: string }
  | { readonly kind: "workload"; readonly originKind: string; readonly namespace: string; readonly name: string }
  | { readonly kind: "host"; readonly host: string; readonly from: string }
  | { readonly kind: "gateway"; readonly namespace: string; readonly name: string };

/** The target, or a problem of one line with what does not exist and similar names. */
export type Sought = { readonly target: Target } | { readonly problem: string };

export function findTarget(asked: TargetName, mesh: Mesh): Sought {
  if (asked.kind === "namespace") return findNamespace(asked.name, mesh);
  if (asked.kind === "workload") return findWorkload(asked, mesh);
  if (asked.kind === "host") return findHost(asked, mesh);
  if (asked.kind === "gateway") return findGateway(asked, mesh);
  const { namespace, name, from } = asked;
  return findHost({ host: `${name}.${namespace}.svc.${mesh.settings.domain}`, from: from ?? namespace }, mesh);
}

export function reportedTarget(target: Target): ExplanationTarget {
  if (target.kind === "namespace") return { kind: "Namespace", name: target.name };
  if (target.kind === "host") return { kind: "Host", name: target.host, from: target.from };
  if (target.kind === "gateway") return { kind: "Gateway", namespace: target.namespace, name: target.name };
  return { kind: target.originKind, namespace: target.namespace, name: target.name };
}

const didYouMean = (near: string | undefined): string => (near === undefined ? "" : `; did you mean ${near}?`);

function findNamespace(name: string, mesh: Mesh): Sought {
  if (mesh.find("Namespace", namespaceKey(name)) !== undefined) return { target: { kind: "namespace", name } };
  const near = nearest(name, namespaceNames(mesh));
  return {
    problem: `there is no namespace ${JSON.stringify(name)} in this mesh${didYouMean(near && `namespace/${near}`)}`,
  };
}

function* namespaceNames(mesh: Mesh): Iterable<string> {
  for (const { metadata } of mesh.all("Namespace")) yield metadata.name;
}

function findWorkload({ originKind, namespace, name }: TargetName & { kind: "workload" }, mesh: Mesh): Sought {
  const wanted = originKind === undefined ? kinds.Workload.served.map(({ kind }) => kind) : [originKind];
  const found = wanted.filter(
    (kind) => mesh.find("Workload", keyFor("Workload", { originKind: kind, namespace, name })) !== undefined,
  );
  const [only, other] = found;
  if (only !== undefined && other === undefined)
    return { target: { kind: "workload", originKind: only, namespace, name } };
  if (other !== undefined)
    return {
      problem: `${namespace}/${name} is ${found.join(" and ")}: use ${only?.toLowerCase()}/${namespace}/${name}`,
    };
  return { problem: missingWorkload(originKind, namespace, name, mesh) };
}

function missingWorkload(originKind: string | undefined, namespace: string, name: string, mesh: Mesh): string {
  const what = originKind ?? "workload";
  if (!mesh.knows("Workload"))
    return `the mesh contains no workloads, so ${namespace}/${name} is not known${didYouMean(elsewhere(name, mesh))}`;
  const missing = `there is no ${what} ${namespace}/${name} in this mesh`;
  if (mesh.find("Namespace", namespaceKey(namespace)) === undefined) {
    const near = nearest(namespace, namespaceNames(mesh));
    return `${missing}, and no namespace ${JSON.stringify(namespace)}${didYouMean(near === undefined ? elsewhere(name, mesh) : `${near}/${name}`)}`;
  }
  const here = mesh.related(workloadsOfNamespace, namespaceIn(mesh, namespace));
  return `${missing}${didYouMean(nearWorkload(name, here) ?? elsewhere(name, mesh))}`;
}

const asWords = ({ originKind, metadata }: Workload): string =>
  `${originKind.toLowerCase()}/${metadata.namespace}/${metadata.name}`;

/** The owner of a pod or ReplicaSet of this name, else the nearest name. */
function nearWorkload(name: string, workloads: readonly Workload[]): string | undefined {
  const makers = workloads.filter(({ metadata }) => name.startsWith(`${metadata.name}-`));
  const maker = makers.sort((a, b) => b.metadata.name.length - a.metadata.name.length)[0];
  if (maker !== undefined) return asWords(maker);
  const near = nearest(
    name,
    workloads.map(({ metadata }) => metadata.name),
  );
  const found = workloads.find(({ metadata }) => metadata.name === near);
  return found && asWords(found);
}

/** The same name in another namespace, for a user who forgot the namespace. */
function elsewhere(name: string, mesh: Mesh): string | undefined {
  for (const workload of mesh.all("Workload")) if (workload.metadata.name === name) return asWords(workload);
  return namespaceNamed(name, mesh);
}
const namespaceNamed = (name: string, mesh: Mesh): string | undefined =>
  mesh.find("Namespace", namespaceKey(name)) === undefined ? undefined : `namespace/${name}`;

function findHost({ host: written, from }: { host: string; from: string | undefined }, mesh: Mesh): Sought {
  const { domain } = mesh.settings;
  const whole = written.replace(/(?<=[^.])\.$/, "");
  const named = resolvedByDns(whole.toLowerCase(), mesh) ?? whole;
  const client = from ?? namespaceOfHost(named, domain);
  if (client === undefined)
    return {
      problem: `the namespace of the clients of ${JSON.stringify(written)} is not known; give it with --from <namespace>`,
    };
  const absent = missingClient(client, mesh);
  if (absent !== undefined) return { problem: absent };
  const host = fullHost(named, client, domain).toLowerCase();
  if (host.startsWith("*") || isKnown(host, mesh) || !mesh.knows("Service"))
    return { target: { kind: "host", host, from: client } };
  return { problem: missingHost(host, mesh) };
}

/** Whether an object refers to a host, or a Gateway of the Gateway API has routes for it. */
const isKnown = (host: string, mesh: Mesh): boolean =>
  isSpokenOf(hostIn(mesh, host), mesh) ||
  ruleTablesForHost(host, mesh).length > 0 ||
  mesh.get(ingressHost, host) !== undefined;

/**
 * The whole host of a Service for `api.payments` and `api.payments.svc`, as the DNS of Kubernetes resolves them and
 * istiod routes them (pilot/pkg/networking/core/httproute.go GenerateAltVirtualHosts, which knows the dot at the end of an
 * absolute name, too). A name that an object has as it is written, for instance the `hosts` of a VirtualService, stays: there
 * Istio expands no name with a dot.
 */
function resolvedByDns(host: string, mesh: Mesh): string | undefined {
  if (!host.includes(".") || isKnown(host, mesh)) return undefined;
  const { domain } = mesh.settings;
  return [`${host}.svc.${domain}`, `${host}.${domain}`].find((longer) => hostIn(mesh, longer).service !== undefined);
}

/** If all Namespaces are known, a client namespace that does not exist is an error. */
function missingClient(client: string, mesh: Mesh): string | undefined {
  if (mesh.find("Namespace", namespaceKey(client)) !== undefined || mesh.knowledge("Namespace") !== "complete")
    return undefined;
  const near = nearest(client, namespaceNames(mesh));
  return `--from: there is no namespace ${JSON.stringify(client)} in this mesh${didYouMean(near)}`;
}

function missingHost(host: string, mesh: Mesh): string {
  const meant = [host, `${host}.svc.${mesh.settings.domain}`].map((name) => nearest(name, serviceHosts(mesh)));
  return `no object in this mesh refers to host ${host}${didYouMean(sameName(host, mesh) ?? meant.find(Boolean))}`;
}

/** A Service of this name in another namespace. */
function sameName(host: string, mesh: Mesh): string | undefined {
  const [name] = host.split(".");
  for (const service of mesh.all("Service"))
    if (service.metadata.name === name) return hostOfService(service, mesh.settings.domain);
  return undefined;
}

function* serviceHosts(mesh: Mesh): Iterable<string> {
  for (const service of mesh.all("Service")) yield hostOfService(service, mesh.settings.domain);
  for (const { spec } of mesh.all("ServiceEntry")) yield* spec.hosts;
}

/** The Gateways of a name: of Istio, and of the Gateway API. */
export function gatewaysNamed(
  mesh: Mesh,
  { namespace, name }: { readonly namespace: string; readonly name: string },
): { readonly ofIstio: Gateway | undefined; readonly ofKubernetes: KubernetesGateway | undefined } {
  const named = { originKind: "Gateway", namespace, name };
  const ofIstio = mesh.find("Gateway", keyFor("Gateway", named));
  const ofKubernetes = mesh.find("KubernetesGateway", keyFor("KubernetesGateway", named));
  return {
    ofIstio: ofIstio?.kind === "Gateway" ? ofIstio : undefined,
    ofKubernetes: ofKubernetes?.kind === "KubernetesGateway" ? ofKubernetes : undefined,
  };
}

function findGateway({ namespace, name }: TargetName & { kind: "gateway" }, mesh: Mesh): Sought {
  const { ofIstio, ofKubernetes } = gatewaysNamed(mesh, { namespace, name });
  if (ofIstio !== undefined || ofKubernetes !== undefined) return { target: { kind: "gateway", namespace, name } };
  const all = [...mesh.all("Gateway"), ...mesh.all("KubernetesGateway")].map(({ metadata }) => metadata);
  const same = all.find((one) => one.name === name);
  const near =
    same === undefined
      ? nearest(
          `${namespace}/${name}`,
          all.map((one) => `${one.namespace}/${one.name}`),
        )
      : `${same.namespace}/${same.name}`;
  return {
    problem: `there is no Gateway ${namespace}/${name} in this mesh${didYouMean(near && `gateway/${near}`)}`,
  };
}

/** The workload of a target, if this mesh contains it. */
export function workloadIn(
  mesh: Mesh,
  { originKind, namespace, name }: Target & { kind: "workload" },
): Workload | undefined {
  const found = mesh.find("Workload", keyFor("Workload", { originKind, namespace, name }));
  return found?.kind === "Workload" ? found : undefined;
}

export const titleOf = (target: Target, mesh: Mesh): string => {
  if (target.kind === "namespace") return `Namespace ${target.name}`;
  if (target.kind === "host") return `Host ${target.host}, for clients in ${target.from}`;
  if (target.kind === "gateway") return `Gateway ${target.namespace}/${target.name}`;
  const workload = workloadIn(mesh, target);
  return workload === undefined ? `${target.originKind} ${target.namespace}/${target.name}` : idOf(workload);
};
