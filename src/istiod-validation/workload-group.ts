import type { Path } from "../kube/read.ts";
import { quoted } from "../text/printable.ts";
import { refusedLabels } from "./labels.ts";
import { countOf, type Fields, fieldsOf, isSet, itemsOf, numberOf, type Refused, textOf, type Written } from "./raw.ts";

/** Istio pkg/config/validation/validation.go ValidateWorkloadGroup. */
export function* refuseWorkloadGroup({ spec }: Written): Refused {
  if (!isSet(spec["template"])) yield { at: ["spec"], message: "A WorkloadGroup needs a template" };
  yield* refusedLabels(fieldsOf(spec["metadata"])["labels"], ["spec", "metadata", "labels"]);
  if (isSet(spec["probe"])) yield* refusedProbe(fieldsOf(spec["probe"]), ["spec", "probe"]);
}

const counts = ["periodSeconds", "initialDelaySeconds", "timeoutSeconds", "successThreshold", "failureThreshold"];

/** validateReadinessProbe, which does not know the method grpc. */
function* refusedProbe(probe: Fields, at: Path): Refused {
  for (const field of counts)
    if (numberOf(probe[field]) < 0) yield { at: [...at, field], message: `${field} cannot be negative` };
  const { httpGet, tcpSocket, exec } = probe;
  if (!isSet(httpGet) && !isSet(tcpSocket) && !isSet(exec))
    yield { at, message: "istiod knows the methods httpGet, tcpSocket and exec of a probe, and this probe has none" };
  if (isSet(httpGet)) yield* refusedRequest(fieldsOf(httpGet), [...at, "httpGet"]);
  if (isSet(tcpSocket)) yield* refusedPort(fieldsOf(tcpSocket), [...at, "tcpSocket"]);
  if (isSet(exec) && countOf(fieldsOf(exec)["command"]) === 0)
    yield { at: [...at, "exec"], message: "A probe that runs a command needs the command" };
}

function* refusedRequest(request: Fields, at: Path): Refused {
  yield* refusedPort(request, at);
  if (!["", "HTTP", "HTTPS"].includes(textOf(request["scheme"])))
    yield { at: [...at, "scheme"], message: "The scheme of a probe is HTTP or HTTPS" };
  for (const { fields, at: place } of itemsOf(request["httpHeaders"], [...at, "httpHeaders"])) {
    const name = textOf(fields["name"]);
    if (!/^[-A-Za-z0-9]+$/.test(name))
      yield { at: place, message: `${quoted(name)} is no name of a header: letters, digits and "-"` };
  }
}

function* refusedPort(target: Fields, at: Path): Refused {
  const port = numberOf(target["port"]);
  if (port < 1 || port > 65_535) yield { at, message: `A probe needs a port from 1 to 65535, and ${port} is none` };
}
