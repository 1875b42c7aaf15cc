import { blockOf } from "../authorization/requests/addresses.ts";
import { hasInjectedGateway, isProxy, type Workload } from "../membership/workloads.ts";
import { excludeInterfaces, interfacesIn, isWithoutRedirection } from "../membership/interception.ts";
import { portsIn } from "../membership/port-lists.ts";
import { addressesOf } from "../traffic/service-claims.ts";
import type { Source } from "./outcome.ts";
import type { Target } from "./question.ts";

const annotation = (name: string): string => `traffic.sidecar.istio.io/${name}`;
const excludedPorts = annotation("excludeOutboundPorts");
const includedPorts = annotation("includeOutboundPorts");
const excludedRanges = annotation("excludeOutboundIPRanges");
const includedRanges = annotation("includeOutboundIPRanges");
const decisive = [excludedPorts, includedPorts, excludedRanges, includedRanges, excludeInterfaces];

/** What distinguishes pods by the connections that are redirected to their sidecars; empty for most of them. */
export function outboundCaptureOf(workload: Workload): string {
  const { annotations } = workload.pod;
  const set = decisive.flatMap((key) => (annotations[key] === undefined ? [] : [`${key}=${annotations[key]}`]));
  return isWithoutRedirection(workload.pod) ? [...set, "NONE"].join() : set.join();
}

/**
 * - `redirected`: the sidecar sends the requests.
 * - `past`: they leave the pod past the sidecar, as plaintext.
 * - `unknown`: that depends on something that is not known, `by` what.
 */
export type Departure =
  | { readonly kind: "redirected" | "past"; readonly by: undefined }
  | { readonly kind: "unknown"; readonly by: string };
export const redirected: Departure = { kind: "redirected", by: undefined };
const past: Departure = { kind: "past", by: undefined };

/**
 * Whether the connections of clients with a sidecar to a target are redirected to it. Excluded ports and addresses go first, then ports
 * that are included, then addresses: all, if the annotation does not list some (Istio tools/istio-iptables/pkg/capture/run.go Run,
 * handleOutboundPortsInclude, handleOutboundIncludeRules; pkg/kube/inject/template.go). Packets of the network interface are left alone if
 * it is excluded (shortCircuitExcludeInterfaces). What the port is there is the port of the target, because the address of a Service is
 * translated outside of the pod. Without redirection, applications call the sidecar themselves, or do not.
 */
export function departureOf({ sender, isGateway, workloads }: Source, to: Target): Departure {
  const [first] = workloads;
  if (sender !== "proxy" || isGateway || first === undefined || isProxy(first) || hasInjectedGateway(first))
    return redirected;
  if (isWithoutRedirection(first.pod)) return { kind: "unknown", by: "the interception mode is NONE" };
  return outboundCaptureOf(first) === "" ? redirected : ofAnnotations(first.pod.annotations, to);
}

function ofAnnotations(annotations: Workload["pod"]["annotations"], to: Target): Departure {
  const isListed = (key: string) => portsIn(annotations[key] ?? "")?.has(to.port) === true;
  const isOfNoInterface = interfacesIn(annotations[excludeInterfaces] ?? "")?.includes("eth0") === true;
  if (isOfNoInterface || isListed(excludedPorts)) return past;
  const addresses = addressesTo(to);
  const isExcluded = isWithin(annotations[excludedRanges] ?? "", addresses);
  if (isExcluded !== false) return isExcluded ? past : unknownBy(excludedRanges);
  return isListed(includedPorts) ? redirected : byIncluded(isWithin(annotations[includedRanges] ?? "*", addresses));
}

function byIncluded(isIncluded: boolean | undefined): Departure {
  if (isIncluded === undefined) return unknownBy(includedRanges);
  return isIncluded ? redirected : past;
}

const unknownBy = (by: string): Departure => ({
  kind: "unknown",
  by: `${by} lists addresses, and that of the target is not known`,
});

/** The addresses at which clients reach a Service; empty: they are not known, such as those of pods. */
const addressesTo = (to: Target): readonly string[] => (to.kind === "service" ? [...addressesOf(to.service)] : []);

/** Whether all of the addresses are in a list of blocks, or none; undefined: some are, or they are not known. */
function isWithin(list: string, addresses: readonly string[]): boolean | undefined {
  if (list === "*") return true;
  const blocks = list.split(",").flatMap((one) => blockOf(one.trim()) ?? []);
  if (blocks.every((block) => certainlyElsewhere.some((one) => isIn(block, one)))) return false;
  if (addresses.length === 0) return blocks.some(isEverything) ? true : undefined;
  const found = addresses.flatMap((address) => blockOf(address) ?? []);
  const results = new Set(found.map((one) => blocks.some((block) => isIn(one, block))));
  return results.size === 1 ? results.has(true) : undefined;
}

type Block = NonNullable<ReturnType<typeof blockOf>>;
const isIn = (inner: Block, outer: Block): boolean => inner.first >= outer.first && inner.last <= outer.last;
const everything = [blockOf("0.0.0.0/0"), blockOf("::/0")];
const isEverything = ({ first, last }: Block): boolean =>
  everything.some((one) => one?.first === first && one.last === last);

/** Neither Services nor pods have addresses of these: the metadata of cloud providers, loopback, and multicast. */
const certainlyElsewhere: readonly Block[] = [
  "169.254.0.0/16",
  "127.0.0.0/8",
  "224.0.0.0/4",
  "fe80::/10",
  "::1/128",
].flatMap((text) => blockOf(text) ?? []);
