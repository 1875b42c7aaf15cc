import type { Path } from "../kube/read.ts";
import { isLabel, isWildcardDomain } from "../mesh/traffic/host-syntax.ts";
import { quoted } from "../text/printable.ts";
import {
  countOf,
  entriesOf,
  type Fields,
  fieldsOf,
  isSet,
  itemsOf,
  numberOf,
  type Refused,
  textOf,
  type Written,
} from "./raw.ts";
import { refusedExportTo, refusedSelector } from "./selectors.ts";

/** Istio pkg/config/validation/validation.go ValidateDestinationRule. */
export function* refuseDestinationRule({ spec, namespace }: Written): Refused {
  const host = textOf(spec["host"]);
  if (!isWildcardDomain(host)) yield { at: ["spec", "host"], message: `Host ${quoted(host)} is no DNS name` };
  if (isSet(spec["trafficPolicy"])) yield* refusedPolicy(fieldsOf(spec["trafficPolicy"]), ["spec", "trafficPolicy"]);
  const names = new Set<string>();
  for (const { fields, at } of itemsOf(spec["subsets"], ["spec", "subsets"])) {
    const name = textOf(fields["name"]);
    if (names.has(name)) yield { at: [...at, "name"], message: `Subset ${quoted(name)} is defined twice` };
    names.add(name);
    yield* refusedSubset(fields, name, at);
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

function* refusedSubset(subset: Fields, name: string, at: Path): Refused {
  if (!isLabel(name))
    yield {
      at: [...at, "name"],
      message: `The name of a subset has at most 63 letters, digits and "-", and ${quoted(name)} does not`,
    };
  yield* refusedLabels(subset["labels"], [...at, "labels"]);
  if (isSet(subset["trafficPolicy"])) yield* refusedPolicy(fieldsOf(subset["trafficPolicy"]), [...at, "trafficPolicy"]);
}

const isValue = /^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/;
const isKey = /^(?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?$/i;

/** pkg/config/labels/instance.go Validate. */
export function* refusedLabels(labels: unknown, at: Path): Refused {
  for (const { key, value, at: place } of entriesOf(labels, at)) {
    if (!isKey.test(key)) yield { at: place, message: `${quoted(key)} is no key of a label` };
    if (!isValue.test(textOf(value))) yield { at: place, message: `${quoted(textOf(value))} is no value of a label` };
  }
}

const ofPorts = ["outlierDetection", "connectionPool", "loadBalancer", "tls"];
const ofPolicies = [...ofPorts, "portLevelSettings", "tunnel", "proxyProtocol", "retryBudget"];

/** validateTrafficPolicy. */
function* refusedPolicy(policy: Fields, at: Path): Refused {
  if (!ofPolicies.some((field) => isSet(policy[field])))
    yield { at, message: "A traffic policy needs at least one field" };
  if (isSet(policy["tunnel"]) && isSet(policy["proxyProtocol"]))
    yield { at, message: "A traffic policy has tunnel or proxyProtocol, not both" };
  yield* refusedSettings(policy, at);
  for (const port of itemsOf(policy["portLevelSettings"], [...at, "portLevelSettings"])) {
    if (!isSet(port.fields["port"])) yield { at: port.at, message: "Settings of a port need the port" };
    if (!ofPorts.some((field) => isSet(port.fields[field])))
      yield { at: port.at, message: "Settings of a port need at least one field" };
    yield* refusedSettings(port.fields, port.at);
  }
}

function* refusedSettings(settings: Fields, at: Path): Refused {
  if (isSet(settings["tls"])) yield* refusedTls(fieldsOf(settings["tls"]), [...at, "tls"]);
  if (isSet(settings["connectionPool"]))
    yield* refusedPool(fieldsOf(settings["connectionPool"]), [...at, "connectionPool"]);
  yield* refusedOutliers(fieldsOf(settings["outlierDetection"]), [...at, "outlierDetection"]);
  yield* refusedBalancing(fieldsOf(settings["loadBalancer"]), [...at, "loadBalancer"]);
}

/** agent/validation.go ValidateTLS. */
function* refusedTls(tls: Fields, at: Path): Refused {
  const mode = textOf(tls["mode"]);
  const isNamed = textOf(tls["credentialName"]) !== "";
  if (tls["insecureSkipVerify"] === true && mode === "SIMPLE") yield* refusedVerification(tls, at);
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

function* refusedVerification(tls: Fields, at: Path): Refused {
  for (const field of ["caCertificates", "credentialName", "subjectAltNames"])
    if (textOf(tls[field]) !== "" || countOf(tls[field]) > 0)
      yield { at: [...at, field], message: `With insecureSkipVerify, ${field} cannot be set: nothing is verified` };
}

/** validateConnectionPool. */
function* refusedPool(pool: Fields, at: Path): Refused {
  if (!isSet(pool["tcp"]) && !isSet(pool["http"])) yield { at, message: "A connection pool needs tcp or http" };
  const counts = {
    tcp: ["maxConnections"],
    http: [
      "http1MaxPendingRequests",
      "http2MaxRequests",
      "maxRequestsPerConnection",
      "maxRetries",
      "maxConcurrentStreams",
    ],
  } as const;
  for (const protocol of ["tcp", "http"] as const)
    for (const field of counts[protocol])
      if (numberOf(fieldsOf(pool[protocol])[field]) < 0)
        yield { at: [...at, protocol, field], message: `${field} cannot be negative` };
  const http = fieldsOf(pool["http"]);
  if (http["h2UpgradePolicy"] === "UPGRADE" && http["useClientProtocol"] === true)
    yield {
      at: [...at, "http", "useClientProtocol"],
      message: "useClientProtocol and h2UpgradePolicy UPGRADE exclude each other",
    };
}

/** validateOutlierDetection. */
function* refusedOutliers(outliers: Fields, at: Path): Refused {
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

/** validateLoadBalancer, agent/validation.go ValidateLocalityLbSetting. */
function* refusedBalancing(balancer: Fields, at: Path): Refused {
  const cookie = fieldsOf(balancer["consistentHash"])["httpCookie"];
  if (isSet(cookie) && textOf(fieldsOf(cookie)["name"]) === "")
    yield { at: [...at, "consistentHash", "httpCookie"], message: "A cookie needs a name" };
  const locality = fieldsOf(balancer["localityLbSetting"]);
  const place = [...at, "localityLbSetting"];
  const both = countOf(locality["distribute"]) > 0 && countOf(locality["failover"]) > 0;
  if (both) yield { at: place, message: "distribute and failover exclude each other" };
  else {
    for (const { fields, at: here } of itemsOf(locality["distribute"], [...place, "distribute"]))
      yield* refusedShares(fields, here);
    for (const { fields, at: here } of itemsOf(locality["failover"], [...place, "failover"]))
      yield* refusedFailover(textOf(fields["from"]), textOf(fields["to"]), here);
  }
}

function* refusedShares(distribute: Fields, at: Path): Refused {
  const shares = entriesOf(distribute["to"], [...at, "to"]);
  const wrong = shares.find(({ value }) => numberOf(value) < 1 || numberOf(value) > 100);
  const sum = shares.reduce((total, { value }) => total + numberOf(value), 0);
  if (wrong !== undefined) yield { at: wrong.at, message: "The share of a locality is from 1 to 100" };
  else if (sum !== 100) yield { at: [...at, "to"], message: `The shares of the localities sum to ${sum}, not to 100` };
}

function* refusedFailover(from: string, to: string, at: Path): Refused {
  if (from === to) yield { at, message: `A failover is to another region than ${quoted(from)}` };
  if (/[/*]/.test(from + to)) yield { at, message: "A failover names regions only, without zones and wildcards" };
}
