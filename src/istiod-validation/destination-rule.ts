import type { Path } from "../kube/read.ts";
import { isAddress } from "../mesh/objects/ip-address.ts";
import { isDomain, isLabel, isWildcardDomain } from "../mesh/traffic/host-syntax.ts";
import { quoted } from "../text/printable.ts";
import { refusedPool } from "./connection-pool.ts";
import { refusedDuration, refusedReading } from "./durations.ts";
import { refusedLabels } from "./labels.ts";
import { refusedBalancing } from "./load-balancing.ts";
import { countOf, type Fields, fieldsOf, isSet, itemsOf, numberOf, type Refused, textOf, type Written } from "./raw.ts";
import { refusedExportTo, refusedSelector } from "./selectors.ts";

/** Istio pkg/config/validation/validation.go ValidateDestinationRule. */
export function* refuseDestinationRule({ spec, namespace }: Written): Refused {
  const host = textOf(spec["host"]);
  if (!isWildcardDomain(host)) yield { at: ["spec", "host"], message: `Host ${quoted(host)} is no DNS name` };
  if (isSet(spec["trafficPolicy"]))
    yield* refusedPolicy(fieldsOf(spec["trafficPolicy"]), namespace, ["spec", "trafficPolicy"]);
  const names = new Set<string>();
  for (const { fields, at } of itemsOf(spec["subsets"], ["spec", "subsets"])) {
    const name = textOf(fields["name"]);
    if (names.has(name)) yield { at: [...at, "name"], message: `Subset ${quoted(name)} is defined twice` };
    names.add(name);
    yield* refusedSubset(fields, namespace, at);
  }
  yield* refusedExportTo(spec, namespace, false);
  const labels = fieldsOf(spec["workloadSelector"])["matchLabels"];
  yield* refusedSelector(labels, ["spec", "workloadSelector", "matchLabels"]);
  if (isSet(spec["workloadSelector"])) yield* exportedBeyond(spec, namespace);
}

function* exportedBeyond(spec: Fields, namespace: string | undefined): Refused {
  for (const { value, at } of itemsOf(spec["exportTo"], ["spec", "exportTo"]))
    if (value !== "." && (namespace === undefined ? value === "*" : value !== namespace))
      yield {
        at,
        message: "A rule with a workloadSelector is for clients of its own namespace, and cannot be exported",
      };
}

function* refusedSubset(subset: Fields, namespace: string | undefined, at: Path): Refused {
  const name = textOf(subset["name"]);
  if (!isLabel(name))
    yield {
      at: [...at, "name"],
      message: `The name of a subset has at most 63 letters, digits and "-", and ${quoted(name)} does not`,
    };
  yield* refusedLabels(subset["labels"], [...at, "labels"]);
  if (isSet(subset["trafficPolicy"]))
    yield* refusedPolicy(fieldsOf(subset["trafficPolicy"]), namespace, [...at, "trafficPolicy"]);
}

const ofPorts = ["outlierDetection", "connectionPool", "loadBalancer", "tls"];
const ofPolicies = [...ofPorts, "portLevelSettings", "tunnel", "proxyProtocol", "retryBudget"];

/** validateTrafficPolicy. */
function* refusedPolicy(policy: Fields, namespace: string | undefined, at: Path): Refused {
  const isGiven = (value: unknown) => isSet(value) && !(Array.isArray(value) && value.length === 0);
  if (!ofPolicies.some((field) => isGiven(policy[field])))
    yield { at, message: "A traffic policy needs at least one field" };
  if (isSet(policy["tunnel"]) && isSet(policy["proxyProtocol"]))
    yield { at, message: "A traffic policy has tunnel or proxyProtocol, not both" };
  yield* refusedSettings(policy, namespace, at);
  yield* refusedReading(fieldsOf(policy["retryBudget"])["budgetInterval"], [...at, "retryBudget", "budgetInterval"]);
  if (isSet(policy["tunnel"])) yield* refusedTunnel(fieldsOf(policy["tunnel"]), [...at, "tunnel"]);
  for (const port of itemsOf(policy["portLevelSettings"], [...at, "portLevelSettings"])) {
    if (!isSet(port.fields["port"])) yield { at: port.at, message: "Settings of a port need the port" };
    if (!ofPorts.some((field) => isSet(port.fields[field])))
      yield { at: port.at, message: "Settings of a port need at least one field" };
    yield* refusedSettings(port.fields, namespace, port.at);
  }
}

function* refusedSettings(settings: Fields, namespace: string | undefined, at: Path): Refused {
  if (isSet(settings["tls"])) yield* refusedTls(fieldsOf(settings["tls"]), namespace, [...at, "tls"]);
  yield* refusedPool(settings["connectionPool"], [...at, "connectionPool"]);
  yield* refusedOutliers(fieldsOf(settings["outlierDetection"]), [...at, "outlierDetection"]);
  yield* refusedBalancing(fieldsOf(settings["loadBalancer"]), [...at, "loadBalancer"]);
}

/** agent/validation.go ValidateTLS. */
function* refusedTls(tls: Fields, namespace: string | undefined, at: Path): Refused {
  const mode = textOf(tls["mode"]);
  const isNamed = textOf(tls["credentialName"]) !== "";
  yield* refusedConfigMap(tls, namespace, [...at, "credentialName"]);
  if (tls["insecureSkipVerify"] === true) yield* refusedVerification(tls, mode, at);
  if (isNamed && (mode === "SIMPLE" || mode === "MUTUAL")) yield* refusedFiles(tls, at);
  else if (mode === "MUTUAL")
    for (const field of ["clientCertificate", "privateKey"].filter((one) => textOf(tls[one]) === ""))
      yield {
        at,
        message: `TLS mode MUTUAL needs ${field}, or credentialName for a Secret; for the mesh's own mTLS, the mode is ISTIO_MUTUAL`,
      };
}

function* refusedFiles(tls: Fields, at: Path): Refused {
  for (const field of ["clientCertificate", "privateKey", "caCertificates", "caCrl"])
    if (textOf(tls[field]) !== "")
      yield {
        at: [...at, field],
        message: `With credentialName, ${field} cannot be set: the Secret has all certificates`,
      };
}

/** A certificate of an authority in a ConfigMap, which is written with its namespace. */
function* refusedConfigMap(tls: Fields, namespace: string | undefined, at: Path): Refused {
  const name = /^configmap:\/\/(.*)$/s.exec(textOf(tls["credentialName"]))?.[1];
  if (name === undefined) return;
  const [of = "", map = ""] = name.split("/");
  if (of === "" || map === "") yield { at, message: "A ConfigMap is named as configmap://<namespace>/<name>" };
  else if (namespace !== undefined && of !== namespace)
    yield { at, message: `The ConfigMap must be in the namespace of the DestinationRule, not in ${quoted(of)}` };
}

/** What nothing can be verified with. With MUTUAL, the Secret may have the certificate of the client alone. */
const forVerification: Readonly<Record<string, readonly string[]>> = {
  SIMPLE: ["caCertificates", "credentialName", "subjectAltNames"],
  MUTUAL: ["caCertificates", "subjectAltNames"],
};

function* refusedVerification(tls: Fields, mode: string, at: Path): Refused {
  for (const field of forVerification[mode] ?? [])
    if (textOf(tls[field]) !== "" || countOf(tls[field]) > 0)
      yield { at: [...at, field], message: `With insecureSkipVerify, ${field} cannot be set: nothing is verified` };
}

/** validateTunnelSettings. */
function* refusedTunnel(tunnel: Fields, at: Path): Refused {
  const [protocol, host, port] = [textOf(tunnel["protocol"]), textOf(tunnel["targetHost"]), tunnel["targetPort"]];
  if (!["", "CONNECT", "POST"].includes(protocol))
    yield { at: [...at, "protocol"], message: `A tunnel is made with CONNECT or POST, not with ${quoted(protocol)}` };
  if (!isDomain(host) && !isAddress(host))
    yield { at, message: `A tunnel needs a targetHost, and ${quoted(host)} is neither a DNS name nor an IP address` };
  if (numberOf(port) < 1 || numberOf(port) > 65_535)
    yield { at, message: "A tunnel needs a targetPort from 1 to 65535" };
}

/** validateOutlierDetection. */
export function* refusedOutliers(outliers: Fields, at: Path): Refused {
  for (const field of ["interval", "baseEjectionTime"]) yield* refusedDuration(outliers[field], [...at, field]);
  for (const field of ["maxEjectionPercent", "minHealthPercent"]) {
    const percent = numberOf(outliers[field]);
    if (percent < 0 || percent > 100)
      yield { at: [...at, field], message: `${field} is a percentage, and ${percent} is none` };
  }
  const isSplit = outliers["splitExternalLocalOriginErrors"] === true;
  if (!isSplit && numberOf(outliers["consecutiveLocalOriginFailures"]) > 0)
    yield {
      at: [...at, "consecutiveLocalOriginFailures"],
      message: "consecutiveLocalOriginFailures counts only with splitExternalLocalOriginErrors: true",
    };
}
