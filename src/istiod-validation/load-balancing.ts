import type { Path } from "../kube/read.ts";
import { quoted } from "../text/printable.ts";
import { refusedDuration, refusedReading } from "./durations.ts";
import { refusedDistribution } from "./localities.ts";
import { countOf, type Fields, fieldsOf, isSet, itemsOf, numberOf, type Refused, textOf, textsOf } from "./raw.ts";

/** Istio pkg/config/validation/validation.go validateLoadBalancer. */
export function* refusedBalancing(balancer: Fields, at: Path): Refused {
  yield* refusedHash(fieldsOf(balancer["consistentHash"]), [...at, "consistentHash"]);
  const locality = fieldsOf(balancer["localityLbSetting"]);
  if (isSet(balancer["localityLbSetting"]) && isSet(balancer["zoneAwareLbSetting"]))
    yield { at, message: "localityLbSetting and zoneAwareLbSetting exclude each other" };
  yield* refusedLocality(locality, [...at, "localityLbSetting"]);
  const zoneAware = fieldsOf(balancer["zoneAwareLbSetting"]);
  const place = [...at, "zoneAwareLbSetting"];
  yield* refusedTopology(zoneAware, place);
  yield* refusedFailovers(zoneAware, place);
  for (const period of ["weightStabilizationPeriod", "weightExpirationPeriod", "weightUpdatePeriod"])
    yield* refusedReading(fieldsOf(balancer["backendUtilization"])[period], [...at, "backendUtilization", period]);
  if (isSet(balancer["warmup"])) yield* refusedWarmup(fieldsOf(balancer["warmup"]), [...at, "warmup"]);
}

function* refusedHash(hash: Fields, at: Path): Refused {
  if (isSet(hash["httpCookie"])) yield* refusedCookie(fieldsOf(hash["httpCookie"]), [...at, "httpCookie"]);
  if (numberOf(hash["minimumRingSize"]) !== 0 && (isSet(hash["ringHash"]) || isSet(hash["maglev"])))
    yield { at: [...at, "minimumRingSize"], message: "minimumRingSize cannot be set beside ringHash or maglev" };
  if (isSet(hash["maglev"])) yield* refusedTable(fieldsOf(hash["maglev"])["tableSize"], [...at, "maglev"]);
}

function* refusedCookie(cookie: Fields, at: Path): Refused {
  if (textOf(cookie["name"]) === "") yield { at, message: "A cookie needs a name" };
  yield* refusedReading(cookie["ttl"], [...at, "ttl"]);
  const names = new Set<string>();
  for (const { fields, at: place } of itemsOf(cookie["attributes"], [...at, "attributes"])) {
    const name = textOf(fields["name"]);
    if (name === "") yield { at: place, message: "An attribute of a cookie needs a name" };
    else if (names.has(name)) yield { at: place, message: `The cookie has the attribute ${quoted(name)} twice` };
    names.add(name);
  }
}

function* refusedTable(size: unknown, at: Path): Refused {
  if (!isPrime(numberOf(size)) || numberOf(size) >= 5_000_011)
    yield { at, message: "The tableSize of maglev is a prime number below 5000011, such as 65537" };
}

function isPrime(number: number): boolean {
  if (number > 0 && number < 4) return true;
  if (number <= 0 || number % 2 === 0 || number >= 5_000_011) return false;
  for (let factor = 3; factor * factor <= number; factor += 2) if (number % factor === 0) return false;
  return true;
}

function* refusedWarmup(warmup: Fields, at: Path): Refused {
  if (isSet(warmup["duration"])) yield* refusedDuration(warmup["duration"], [...at, "duration"]);
  else yield { at, message: "A warm-up needs a duration" };
  if (numberOf(warmup["minimumPercent"]) > 100)
    yield { at: [...at, "minimumPercent"], message: "minimumPercent is 100 at most" };
  if (isSet(warmup["aggression"]) && numberOf(warmup["aggression"]) <= 0)
    yield { at: [...at, "aggression"], message: "aggression is above 0" };
}

/** agent/validation.go ValidateLocalityLbSetting. */
function* refusedLocality(locality: Fields, at: Path): Refused {
  if (countOf(locality["distribute"]) > 0 && countOf(locality["failover"]) > 0) {
    yield { at, message: "distribute and failover exclude each other" };
    return;
  }
  if (countOf(locality["failover"]) > 0) yield* refusedTopology(locality, at);
  yield* refusedDistribution(locality["distribute"], [...at, "distribute"]);
  yield* refusedFailovers(locality, at);
}

const topology: ReadonlySet<string> = new Set([
  "topology.kubernetes.io/region",
  "topology.kubernetes.io/zone",
  "topology.istio.io/subzone",
]);

/** Regions and zones are ordered by failover, so that their labels cannot be priorities. */
function* refusedTopology(settings: Fields, at: Path): Refused {
  for (const { text, at: place } of textsOf(settings["failoverPriority"], [...at, "failoverPriority"]))
    if (topology.has(text))
      yield { at: place, message: `${text} cannot be a priority here: regions are ordered by failover` };
}

function* refusedFailovers(settings: Fields, at: Path): Refused {
  for (const { fields, at: place } of itemsOf(settings["failover"], [...at, "failover"])) {
    const [from, to] = [textOf(fields["from"]), textOf(fields["to"])];
    if (from === to) yield { at: place, message: `A failover is to another region than ${quoted(from)}` };
    if (/[/*]/.test(from + to))
      yield { at: place, message: "A failover names regions only, without zones and wildcards" };
  }
}
