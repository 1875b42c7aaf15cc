import { idOf, keyFor } from "../kube/identity.ts";
import type { ObjectOf } from "../kube/object.ts";
import { virtualServicesNaming } from "../mesh/traffic/service-claims.ts";
import { namespaceIn } from "../mesh/membership/namespaces.ts";
import { type Service, servicesOfNamespace } from "../mesh/membership/services.ts";
import { workloadsOfNamespace } from "../mesh/membership/workloads.ts";
import { isAlias } from "../mesh/traffic/aliased-hosts.ts";
import { type CallerName, readCaller } from "../mesh/requests/caller-names.ts";
import { usualPort } from "../mesh/requests/entry.ts";
import type { EntryHost } from "../mesh/requests/front.ts";
import { everyIngress, ingressGateways, ingressWorkloads, proxiesOf } from "../mesh/requests/ingress.ts";
import type { Caller, Target } from "../mesh/requests/question.ts";
import { hostIn } from "../mesh/traffic/host-definition.ts";
import { gatewaysSelecting } from "../mesh/traffic/virtual-service-clients.ts";
import { isDomain } from "../mesh/traffic/host-syntax.ts";
import { nearest } from "../text/nearest.ts";
import type { Mesh } from "../view/view.ts";
import { findTarget, workloadIn } from "./target.ts";

/** Something that the user named, or why it is not there: one line that says what was found and what to do. */
export type Found<T> = T | { readonly problem: string };

const callerExamples =
  "use deployment/orders/api, serviceaccount/orders/api, namespace/orders, mesh, outside or ingress";
const targetExamples =
  "use api.payments:8080, service/payments/api:8080, deployment/payments/api:8080, api.stripe.com:443 or, from outside, https://shop.example.com or tcp://db.example.com:5432";

/** The caller that `--from` names. `home`: the namespace of names without one. */
export function findCaller(text: string, home: string, mesh: Mesh): Found<{ readonly caller: Caller }> {
  const name = readCaller(text, home);
  if (name.kind === "unknown") {
    const hint = name.meant === undefined ? `; ${callerExamples}` : `; did you mean ${name.meant}?`;
    return { problem: `--from: ${JSON.stringify(text)} is no caller${hint}` };
  }
  return findNamed(name, mesh);
}

function findNamed(name: CallerName, mesh: Mesh): Found<{ readonly caller: Caller }> {
  if (name.kind === "mesh" || name.kind === "outside") return { caller: { kind: name.kind } };
  if (name.kind === "others")
    return {
      problem: `--from: "others" has a meaning only beside other callers, in a MeshwardIntent; ${callerExamples}`,
    };
  if (name.kind === "ingress") return findIngress(name, mesh);
  if (name.kind === "workload") return findWorkloadAsCaller(name, mesh);
  const sought = findTarget({ kind: "namespace", name: name.namespace }, mesh);
  if ("problem" in sought) return { problem: `--from: ${sought.problem}` };
  const namespace = namespaceIn(mesh, name.namespace);
  if (name.kind === "namespace") return { caller: { kind: "namespace", namespace } };
  const missing = missingAccount(name.namespace, name.name, mesh);
  return missing === undefined
    ? { caller: { kind: "serviceAccount", namespace, name: name.name } }
    : { problem: `--from: ${missing}` };
}

/** A service account that no workload uses is probably misspelt, if another one is near. */
function missingAccount(namespace: string, name: string, mesh: Mesh): string | undefined {
  const accounts = new Set(
    mesh.related(workloadsOfNamespace, namespaceIn(mesh, namespace)).map(({ pod }) => pod.serviceAccountName),
  );
  const near = accounts.has(name) ? undefined : nearest(name, accounts);
  if (near === undefined) return undefined;
  return `no workload of namespace ${namespace} runs with service account ${JSON.stringify(name)}; did you mean serviceaccount/${namespace}/${near}?`;
}

function findWorkloadAsCaller(name: CallerName & { kind: "workload" }, mesh: Mesh): Found<{ readonly caller: Caller }> {
  const found = findTarget(name, mesh);
  if ("problem" in found) return { problem: `--from: ${found.problem}` };
  const workload = found.target.kind === "workload" ? workloadIn(mesh, found.target) : undefined;
  if (workload === undefined) return { problem: `--from: ${name.namespace}/${name.name} is no workload` };
  return { caller: { kind: "workload", workload, namespace: namespaceIn(mesh, name.namespace) } };
}

function findIngress(
  { namespace, name }: CallerName & { kind: "ingress" },
  mesh: Mesh,
): Found<{ readonly caller: Caller }> {
  const key = [namespace, name].filter((part) => part !== undefined).join("/") || everyIngress;
  const proxies = proxiesAt(key, mesh);
  if (proxies.length > 0) return { caller: { kind: "ingress", proxies } };
  const all = proxiesAt(everyIngress, mesh).map((one) => one.name);
  const there = all.length === 0 ? noIngress(mesh) : `the ingress gateways are ${all.join(", ")}`;
  return { problem: `--from: there is no ingress gateway${key === everyIngress ? "" : ` ${key}`}: ${there}` };
}

/** Pods that a Gateway selects are no ingress gateway as callers if they send requests of their own, too. */
function noIngress(mesh: Mesh): string {
  for (const workload of mesh.all("Workload")) {
    const [gateway] = gatewaysSelecting(workload, mesh);
    if (gateway === undefined) continue;
    const why = workload.pod.hasOtherContainers ? "containers besides the proxy" : "no proxy of Istio as a gateway";
    return `the mesh contains none whose pods run a proxy alone; ${idOf(workload)}, which ${idOf(gateway)} selects, has ${why}: ask with --from ${nameOfWorkload(workload)}`;
  }
  return "the mesh contains no ingress gateway";
}
const nameOfWorkload = ({ originKind, metadata }: ObjectOf<"Workload">): string =>
  `${originKind.toLowerCase()}/${metadata.namespace}/${metadata.name}`;

const proxiesAt = (key: string, mesh: Mesh) =>
  proxiesOf(
    mesh.lookup(ingressWorkloads, [key]) as readonly ObjectOf<"Workload">[],
    mesh.lookup(ingressGateways, [key]) as readonly ObjectOf<"KubernetesGateway">[],
    mesh,
  );

/** Whether `--to` names a host that an ingress gateway offers to the outside. */
export const isUrl = (text: string): boolean => /^[a-z]+:\/\//i.test(text);

/** The host and the port that a URL names: `https://shop.example.com`, `tcp://db.example.com:5432`. */
export function findEntry(text: string): Found<{ readonly target: EntryHost }> {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const scheme = url?.protocol.slice(0, -1);
  if (scheme === "tcp" && url !== undefined) return findTcpEntry(url, text);
  if (url === undefined || (scheme !== "http" && scheme !== "https"))
    return {
      problem: `--to: ${JSON.stringify(text)} is no URL of a host; use https://shop.example.com or tcp://db.example.com:5432`,
    };
  if (url.href !== `${url.origin}/`)
    return { problem: `--to: give only the host, as ${scheme}://${url.host}, and the path with --path` };
  const port = url.port === "" ? usualPort[scheme] : Number(url.port);
  return { target: { kind: "entry", host: url.hostname, port, scheme } };
}

/** Connections have no usual port, and ask for no path. */
function findTcpEntry({ hostname, host, port }: URL, text: string): Found<{ readonly target: EntryHost }> {
  if (hostname === "" || Number(port) < 1)
    return { problem: `--to: ${JSON.stringify(text)} names no port; use tcp://db.example.com:5432` };
  if (text.toLowerCase() !== `tcp://${host.toLowerCase()}`)
    return { problem: `--to: give only the host and the port, as tcp://${host.toLowerCase()}` };
  return { target: { kind: "entry", host: hostname.toLowerCase(), port: Number(port), scheme: "tcp" } };
}

/**
 * The target that `--to` names: a Service as `api.payments:8080`, by its host, or as `service/payments/api:http`, or a workload as
 * `deployment/payments/api:8080`. `otherSide`: of a change, where the same name can be that of a Service.
 */
export function findServer(
  text: string,
  home: string,
  mesh: Mesh,
  otherSide?: Mesh,
): Found<{ readonly target: Target }> {
  const [name = "", port, ...more] = text.split(":");
  const parts = name.split("/");
  if (more.length > 0 || parts.includes("") || parts.length > 3)
    return { problem: `--to: ${JSON.stringify(text)} is no destination; ${targetExamples}` };
  if (parts.length === 1) return findService({ ...serviceNamed(name, home, mesh), otherSide }, port, mesh);
  if (isService(parts)) return findService(namedBy(parts.slice(1), home), port, mesh);
  const caller = readCaller(name, home);
  if (caller.kind === "workload") return findPods(caller, port, mesh);
  return { problem: `--to: ${JSON.stringify(text)} is neither a Service nor a workload; ${targetExamples}` };
}

const isService = ([first = ""]: readonly string[]): boolean => serviceWords.has(first.toLowerCase());
const namedBy = (names: readonly string[], home: string): ServiceName => ({
  namespace: names.length > 1 ? (names[0] ?? home) : home,
  name: names.at(-1) ?? "",
});
const serviceWords: ReadonlySet<string> = new Set(["service", "services", "svc"]);

interface ServiceName {
  readonly namespace: string;
  readonly name: string;
  /** Set if the host is no name of a Service of this cluster. */
  readonly host?: string;
  /** As it was written, if it may be a host; in lower case. */
  readonly text?: string;
  /** The same with a dot at its end. */
  readonly written?: string;
  readonly otherSide?: Mesh | undefined;
}

/** A name that ends with a dot is whole. Proxies of clients know it, too (Istio pilot/pkg/networking/core/httproute.go GenerateAltVirtualHosts). */
const withoutDot = (host: string): string => host.replace(/\.$/, "");

/** `api`, `api.payments`, `api.payments.svc` and the whole host, as the DNS of the cluster resolves them. */
function serviceNamed(text: string, home: string, { settings: { domain } }: Mesh): ServiceName {
  const host = withoutDot(text.toLowerCase());
  const short = host.endsWith(`.svc.${domain}`) ? host.slice(0, -`.svc.${domain}`.length) : host.replace(/\.svc$/, "");
  const [name = "", namespace = home, ...more] = short.split(".");
  const isFull = host.endsWith(`.svc.${domain}`);
  if (more.length > 0) return { name, namespace, host, text: host };
  return { name, namespace, written: text.toLowerCase(), ...(isFull ? {} : { text: host }) };
}

function findService(asked: ServiceName, port: string | undefined, mesh: Mesh): Found<{ readonly target: Target }> {
  const { namespace, name } = asked;
  const outside = findHost(asked, port, mesh);
  if (outside !== undefined) return outside;
  if (!mesh.knows("Service")) return { problem: "--to: the mesh contains no Services; add them to --mesh" };
  const service = mesh.find("Service", keyFor("Service", { originKind: "Service", namespace, name }));
  if (asked.host !== undefined || service?.kind !== "Service")
    return { problem: `--to: ${missingService(asked, mesh)}` };
  const number = portOf(service, port);
  if (typeof number === "string") return { problem: `--to: ${number}` };
  const target = { kind: "service", service, namespace: namespaceIn(mesh, namespace), port: number } as const;
  const host = asked.written ?? "";
  const virtualServices = virtualServicesNaming({ host, port: number }, service, mesh);
  return { target: virtualServices.length === 0 ? target : { ...target, called: { host, virtualServices } } };
}

/** A host that is no Service: one that ServiceEntries define, or one outside the mesh, if it has a port. */
function findHost(
  asked: ServiceName,
  port: string | undefined,
  mesh: Mesh,
): Found<{ readonly target: Target }> | undefined {
  const { text } = asked;
  if (text === undefined) return undefined;
  const { entries } = hostIn(mesh, text);
  if (!isOutside({ ...asked, text }, port, mesh)) return undefined;
  if (!isDomain(text)) return { problem: `--to: ${JSON.stringify(text)} is no name of one host; ${targetExamples}` };
  const ports = entries.flatMap(({ spec }) => spec.ports.map(({ number, name }) => ({ port: number, name })));
  const number = portOutside(ports, port);
  if (number === undefined)
    return { problem: `--to: give a port of ${text}; its ServiceEntries define ${portsInWords(ports)}` };
  const namespace = namespaceIn(mesh, entries[0]?.metadata.namespace ?? asked.namespace);
  return { target: { kind: "host", host: text, entries, namespace, port: number } };
}

/** Without a ServiceEntry, a name with a namespace of this mesh is a misspelt Service. */
function isOutside(asked: ServiceName & { readonly text: string }, port: string | undefined, mesh: Mesh): boolean {
  const { host, text } = asked;
  if (host === undefined && [mesh, asked.otherSide].some((one) => one !== undefined && hasService(asked, one)))
    return false;
  if (hostIn(mesh, text).entries.length > 0) return true;
  const isNamespaced = host === undefined ? isMeantForService(asked, mesh) : /\.svc\./.test(text);
  return !isNamespaced && text.includes(".") && isNumber(port);
}

const hasService = ({ namespace, name }: ServiceName, mesh: Mesh): boolean =>
  mesh.find("Service", keyFor("Service", { originKind: "Service", namespace, name })) !== undefined;

/**
 * Whether a short name that no Service has is meant for one: its namespace exists, or is misspelt. A dot at the end says that the name is
 * whole, and so that of a host outside.
 */
function isMeantForService(asked: ServiceName & { readonly text: string }, mesh: Mesh): boolean {
  if (asked.text.endsWith(".svc") || mesh.population(asked.namespace) > 0) return true;
  return asked.written?.endsWith(".") !== true && misspelt(asked, mesh) !== undefined;
}

/** The Service whose namespace is written like this one, and whose name is this one or is written like it. */
function misspelt({ namespace, name }: ServiceName, mesh: Mesh): string | undefined {
  const namespaces = new Set([...mesh.all("Service")].map(({ metadata }) => metadata.namespace));
  const meant = nearest(namespace, namespaces);
  if (meant === undefined) return undefined;
  const near = nearest(
    name,
    mesh.related(servicesOfNamespace, namespaceIn(mesh, meant)).map(({ metadata }) => metadata.name),
  );
  return near === undefined ? undefined : `${near}.${meant}`;
}

type OutsidePorts = readonly { readonly port: number | undefined; readonly name: string | undefined }[];

/** A port that is defined, by its number or name, or the only one; any other by its number. */
function portOutside(ports: OutsidePorts, asked: string | undefined): number | undefined {
  if (asked === undefined) return ports.length === 1 ? ports[0]?.port : undefined;
  const found = ports.find(({ port, name }) => String(port) === asked || name === asked);
  return found?.port ?? (isNumber(asked) ? Number(asked) : undefined);
}

const isNumber = (port: string | undefined): port is string =>
  port !== undefined && /^\d{1,5}$/.test(port) && Number(port) > 0 && Number(port) <= 65535;

function missingService(asked: ServiceName, mesh: Mesh): string {
  const { namespace, name, host } = asked;
  const full = host ?? name;
  const missing =
    host === undefined
      ? `there is no Service ${namespace}/${name} in this mesh`
      : `${full} is no Service of this mesh; give a port if it is a host outside: ${full}:443`;
  const here = mesh.related(servicesOfNamespace, namespaceIn(mesh, namespace)).map(({ metadata }) => metadata.name);
  const near = nearest(name, here);
  if (near !== undefined) return `${missing}; did you mean ${near}.${namespace}?`;
  const meant =
    (host === undefined ? misspelt(asked, mesh) : undefined) ??
    sameName(name, mesh) ??
    nearest(`${name}.${namespace}`, shortHosts(mesh));
  return meant === undefined
    ? `${missing}; meshward explain namespace/${namespace} shows what is there`
    : `${missing}; did you mean ${meant}?`;
}

function* shortHosts(mesh: Mesh): Iterable<string> {
  for (const { metadata } of mesh.all("Service")) yield `${metadata.name}.${metadata.namespace}`;
}
function sameName(name: string, mesh: Mesh): string | undefined {
  for (const { metadata } of mesh.all("Service")) if (metadata.name === name) return `${name}.${metadata.namespace}`;
  return undefined;
}

/** The number of a port of a Service, by its number or name, or the only one; a text: why there is none. */
function portOf(service: Service, asked: string | undefined): number | string {
  // DNS leads from an alias to another host, at any port.
  if (isAlias(service) && isNumber(asked)) return Number(asked);
  const { metadata, spec } = service;
  const ports = spec.ports.filter(({ port }) => port !== undefined);
  const name = `Service ${metadata.namespace}/${metadata.name}`;
  if (ports.length === 0) return `${name} has no ports`;
  const shown = portsInWords(ports);
  if (asked === undefined) return onlyPort(service, name, shown);
  const found = ports.find(({ port, name: own }) => String(port) === asked || own === asked);
  return found?.port ?? `${name} has no port ${JSON.stringify(asked)}; its ports are ${shown}`;
}

function onlyPort({ metadata, spec }: Service, name: string, shown: string): number | string {
  const [only, another] = spec.ports.flatMap(({ port }) => port ?? []);
  return only !== undefined && another === undefined
    ? only
    : `${name} has several ports; choose one of ${shown}: --to ${metadata.name}.${metadata.namespace}:${only}`;
}

function findPods(
  asked: CallerName & { kind: "workload" },
  port: string | undefined,
  mesh: Mesh,
): Found<{ readonly target: Target }> {
  const found = findTarget(asked, mesh);
  if ("problem" in found) return { problem: `--to: ${found.problem}` };
  const workload = found.target.kind === "workload" ? workloadIn(mesh, found.target) : undefined;
  if (workload === undefined) return { problem: `--to: ${asked.namespace}/${asked.name} is no workload` };
  const number = portAt(workload.pod.ports, port);
  const namespace = namespaceIn(mesh, asked.namespace);
  if (number !== undefined) return { target: { kind: "workloads", workloads: [workload], namespace, port: number } };
  const shown = portsInWords(workload.pod.ports.map(({ number: own, name }) => ({ port: own, name })));
  const declared = shown === "" ? "its containers declare none" : `its containers declare ${shown}`;
  return { problem: `--to: give a port of ${asked.namespace}/${asked.name} behind a colon; ${declared}` };
}

type PodPorts = readonly { readonly number: number; readonly name: string | undefined }[];

/** A declared port by its name, any port by its number, or the only one that is declared. */
function portAt(ports: PodPorts, asked: string | undefined): number | undefined {
  if (asked === undefined) return ports.length === 1 ? ports[0]?.number : undefined;
  const named = ports.find(({ name }) => name === asked);
  if (named !== undefined) return named.number;
  return /^\d{1,5}$/.test(asked) && Number(asked) > 0 && Number(asked) <= 65535 ? Number(asked) : undefined;
}

const portsInWords = (
  ports: readonly { readonly port: number | undefined; readonly name: string | undefined }[],
): string => ports.map(({ port, name }) => `${port}${name ? ` (${name})` : ""}`).join(", ");
