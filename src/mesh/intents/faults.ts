import { idOf } from "../../kube/identity.ts";
import type { Path } from "../../kube/read.ts";
import { nearest } from "../../text/nearest.ts";
import type { MeshSettings } from "../../view/settings.ts";
import { Undecided, Work } from "../authorization/requests/work.ts";
import { formatCallerName } from "../requests/caller-names.ts";
import { formatWrittenRequest } from "../requests/written-requests.ts";
import { type Contradiction, contradictionsIn, type RunningOf } from "./contradictions.ts";
import {
  callerIn,
  entriesBeside,
  type Entry,
  expectations,
  type Intent,
  isNameOfHost,
  isServiceName,
  mostEntries,
  namespaceOfServiceHost,
} from "./intents.ts";
import { conditionFaults, type IntentFault } from "./value-faults.ts";
import { formatEntry } from "./wording.ts";

/** The work for the conditions of all entries of one intent, and again for their comparison, in compared values. */
const mostWork = 30_000;

/**
 * The faults of the document. What depends on the mesh, such as a Service that does not exist, is not among them, but for entries that
 * contradict each other through the service accounts of workloads, if `runningOf` knows these. Yields nothing where a review can pause.
 */
export function* faultsOf(
  intent: Intent,
  settings: MeshSettings,
  runningOf: RunningOf = () => undefined,
): Generator<IntentFault | undefined, undefined> {
  yield* targetFaults(intent, settings);
  const { requests } = intent.spec;
  if (requests.length === 0)
    yield {
      at: ["spec", "requests"],
      message: "The intent has no requests, so nothing is expected of any",
      fix: "List entries with from and expect in spec.requests.",
    };
  if (requests.length > mostEntries) {
    yield {
      at: ["spec", "requests"],
      message: `The intent has ${requests.length} entries, and at most ${mostEntries} are possible`,
      fix: "Divide it into several intents.",
    };
    return;
  }
  const work = new Work(mostWork);
  for (const [i, entry] of requests.entries()) {
    const at = ["spec", "requests", i];
    yield* callerFaults(intent, entry, at);
    yield* expectationFaults(entry, at);
    yield* conditionFaults(entry, at, work);
    yield* destinationFaults(intent, entry, at);
    yield undefined;
  }
  yield* othersFaults(intent);
  yield* contradictions(intent, runningOf);
}

const targets = ["service", "host", "workloads", "namespaces"] as const;

function* targetFaults(intent: Intent, settings: MeshSettings): Generator<IntentFault, undefined> {
  const at = ["spec", "to"];
  const { to } = intent.spec;
  yield* portFaults(to.ports, at);
  const given = targets.filter((field) => to[field] !== undefined);
  if (given.length !== 1)
    yield {
      at,
      message: `The intent needs exactly one of service, host, workloads and namespaces, and has ${given.join(" and ") || "none"}`,
      fix: "Set service to the name of a Service in this namespace, host to one that is no Service, or workloads to labels of pods.",
    };
  if (to.service !== undefined) yield* serviceFaults(to.service, settings);
  if (to.host !== undefined) yield* hostFaults(to.host, settings);
  if (to.namespaces !== undefined) yield* namespaceFaults(intent, settings);
  if (to.workloads !== undefined && Object.keys(to.workloads).length === 0)
    yield { at: [...at, "workloads"], message: "The intent selects no workload, because it names no label" };
}

function* portFaults(ports: Intent["spec"]["to"]["ports"], at: Path): Generator<IntentFault, undefined> {
  for (const [i, port] of ports.entries())
    if (port === undefined || port < 1 || port > 65535)
      yield { at: [...at, "ports", i], message: `${String(port)} is no port`, fix: "Write a number from 1 to 65535." };
}

/** A Service with another name cannot be there, now or later. */
function* serviceFaults(written: string, { domain }: MeshSettings): Generator<IntentFault, undefined> {
  if (isServiceName(written)) return;
  const [name = "", namespace] = written.split(":")[0]?.split(".") ?? [];
  const isOther = namespace !== undefined && [name, namespace].every(isServiceName);
  const isFull = written.endsWith(`.svc.${domain}`) || written.split(".").length === 2;
  yield {
    at: ["spec", "to", "service"],
    message: `"${written}" is no name of a Service`,
    fix:
      isOther && isFull
        ? `Write service: ${name} in an intent of namespace ${namespace}.`
        : "Write the name alone, as in metadata.name of a Service of this namespace; ports are listed in ports.",
  };
}

/** Services are named by `service`, so that only their namespace states what is expected of requests to them. */
function* hostFaults(written: string, settings: MeshSettings): Generator<IntentFault, undefined> {
  const at = ["spec", "to", "host"];
  const host = written.toLowerCase();
  if (!isNameOfHost(host))
    yield {
      at,
      message: `"${written}" is no name of one host`,
      fix: "Write the name that clients ask for, such as api.stripe.com, without a scheme, a port, a * or a dot at the end.",
    };
  const namespace = namespaceOfServiceHost(host, settings);
  if (namespace !== undefined)
    yield {
      at,
      message: `"${written}" is the name of a Service`,
      fix: `Write service: ${host.split(".")[0] ?? ""} in an intent of namespace ${namespace}.`,
    };
}

function* namespaceFaults(
  { metadata, spec }: Intent,
  { rootNamespace }: MeshSettings,
): Generator<IntentFault, undefined> {
  const at = ["spec", "to", "namespaces"];
  const { names = [], labels = {} } = spec.to.namespaces ?? {};
  if (metadata.namespace !== rootNamespace)
    yield {
      at,
      message: `Only an intent in the root namespace ${rootNamespace} can be about other namespaces`,
      fix: `Move the intent to ${rootNamespace}, or name a service or workloads of this namespace.`,
    };
  if (names.length + Object.keys(labels).length === 0)
    yield {
      at,
      message: "The intent selects no namespace",
      fix: 'Give names or labels; names: ["*"] is every namespace.',
    };
}

function* callerFaults(intent: Intent, { from }: Entry, at: Path): Generator<IntentFault, undefined> {
  if (from.length === 0) yield { at: [...at, "from"], message: "The entry names no caller", fix: callerForms };
  for (const [i, text] of from.entries()) {
    const caller = callerIn(intent, text);
    if (caller.kind !== "unknown" && !text.includes("*")) continue;
    const hint = caller.kind !== "unknown" ? ": names of callers have no *" : asMeant(caller.meant);
    yield { at: [...at, "from", i], message: `"${text}" is no caller${hint}`, fix: callerForms };
  }
}

const callerForms =
  "Write serviceaccount/NAMESPACE/NAME, namespace/NAME, deployment/NAMESPACE/NAME, ingress, mesh for everybody in the mesh, outside or others.";
const asMeant = (meant: string | undefined): string => (meant === undefined ? "" : `: did you mean "${meant}"?`);

function* expectationFaults({ expect }: Entry, at: Path): Generator<IntentFault, undefined> {
  if (expectations.some((one) => one === expect)) return;
  yield {
    at: [...at, "expect"],
    message:
      expect === ""
        ? "The entry expects nothing"
        : `"${expect}" is nothing to expect${asMeant(nearest(expect, expectations))}`,
    fix: `Write one of ${expectations.join(", ")}.`,
  };
}

function* destinationFaults({ spec }: Intent, entry: Entry, at: Path): Generator<IntentFault, undefined> {
  const { expect, destinations } = entry;
  if (expect !== "routed" && destinations.length > 0)
    yield {
      at: [...at, "destinations"],
      message: `Destinations have a meaning only with expect: routed, and the entry expects ${expect}`,
    };
  if (expect !== "routed") return;
  if (destinations.length === 0)
    yield {
      at: [...at, "expect"],
      message: "The entry expects requests to be routed, and does not say where",
      fix: "List the only destinations in destinations, such as subset: stable.",
    };
  if (spec.to.service === undefined && spec.to.host === undefined)
    yield {
      at: [...at, "expect"],
      message: "Only requests to a service or a host are routed: the intent names none",
    };
  yield* shareFaults(destinations, [...at, "destinations"]);
}

function* shareFaults(destinations: Entry["destinations"], at: Path): Generator<IntentFault, undefined> {
  for (const [i, { atLeast = 0 }] of destinations.entries())
    if (atLeast < 0) yield { at: [...at, i, "atLeast"], message: `${atLeast} is no share`, fix: shares };
  const least = destinations.reduce((sum, { atLeast = 0 }) => sum + atLeast, 0);
  if (least > 100)
    yield { at, message: "The smallest shares of all destinations are more than 100 percent", fix: shares };
}

const shares = "Write percentages from 0 to 100, which are 100 at most together.";

/** `others` has a meaning only if some entry names somebody, and not everybody. */
function* othersFaults(intent: Intent): Generator<IntentFault, undefined> {
  for (const [i, entry] of intent.spec.requests.entries()) {
    const j = entry.from.findIndex((text) => callerIn(intent, text).kind === "others");
    if (j < 0) continue;
    const beside = entriesBeside(intent, entry).flatMap(({ from }) => from.map((text) => callerIn(intent, text).kind));
    const named = new Set(beside.filter((kind) => kind !== "others" && kind !== "unknown"));
    const at = ["spec", "requests", i, "from", j];
    if (named.size === 0)
      yield {
        at,
        message: "No other entry about the same names a caller, so there are no others",
        fix: "Name those who are different in an entry of their own, or write mesh and outside for everybody.",
      };
    else if (named.has("mesh") && named.has("outside"))
      yield {
        at,
        message: "Other entries about the same name mesh and outside, which is everybody, so there are no others",
        fix: "Name fewer callers in the other entries, or remove this one.",
      };
  }
}

function* contradictions(intent: Intent, runningOf: RunningOf): Generator<IntentFault | undefined, undefined> {
  try {
    for (const found of contradictionsIn(intent, runningOf, new Work(mostWork))) {
      if (found === undefined) {
        yield undefined;
        continue;
      }
      const { earlier, later, request, caller, through } = found;
      const other = intent.spec.requests[earlier];
      if (other === undefined) continue;
      const example = `${formatWrittenRequest(request)} from ${formatCallerName(caller)}`;
      yield {
        at: ["spec", "requests", later],
        message: `The entry contradicts another one ("${formatEntry(other)}"): both claim ${example}${formatRunning(found)}`,
        fix: "Limit one of the two entries, such as with notMethods or notPaths, or name other callers.",
        ...(through.length === 0 ? {} : { evidence: through }),
      };
    }
  } catch (error) {
    if (!(error instanceof Undecided)) throw error;
    yield {
      at: ["spec", "requests"],
      message: "The intent has too many entries, values or patterns: it takes too much work to compare them",
      fix: "Divide it into several intents.",
      isGuess: true,
    };
  }
}

/** The service account that both entries name. */
function formatRunning({ request, through }: Contradiction): string {
  const identity = request.get("identity");
  const [, namespace, account] = typeof identity === "object" ? identity : [];
  return through.length === 0
    ? ""
    : `, because ${through.map(idOf).join(", ")} runs with service account ${namespace}/${account}`;
}
