import { idOf } from "../kube/identity.ts";
import { type ClientTls, clientTlsOf, type Fit, fitOf } from "../mesh/client-tls/client-tls.ts";
import { type Destination, portsOf } from "../mesh/client-tls/destinations.ts";
import { captureOf, enrollmentOf } from "../mesh/membership/capture.ts";
import type { Namespace } from "../mesh/membership/namespaces.ts";
import type { Service } from "../mesh/membership/services.ts";
import type { Workload } from "../mesh/membership/workloads.ts";
import { mtlsModeOf } from "../mesh/mtls/effective-mtls.ts";
import { destinationRuleChoices } from "../mesh/traffic/destination-rule-choices.ts";
import type { ExplanationLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";
import { destinationRulesOfHost } from "./destination-rules.ts";
import { listed, namespaceIn } from "./inquiry.ts";

/** Whether nothing takes clients of a namespace into the mesh, as far as its labels say. */
export const isOutside = (client: string, mesh: Mesh): boolean =>
  ["none", "opted-out"].includes(enrollmentOf(namespaceIn(mesh, client)));

interface Call {
  readonly client: string;
  readonly host: string;
  readonly namespace: Namespace;
}

const fits: Readonly<Record<Fit, string>> = {
  mtls: "mTLS",
  plaintext: "plaintext",
  "passed on": "TLS of the client's own, passed on to the application",
  refused: "refused",
};
const sends: Readonly<Record<ClientTls, string>> = {
  auto: "mTLS where the other side has it",
  plaintext: "plaintext",
  tls: "TLS of their own",
  mtls: "mTLS",
};

/** What becomes of a request to each port: what clients send, and what the other side takes. */
export function requestLines(
  service: Service,
  workloads: readonly Workload[],
  call: Call,
  mesh: Mesh,
): readonly ExplanationLine[] {
  const { ports, workloadPort } = portsOf(service);
  const lines = ports.map((port) => requestLine(port, { workloadPort, workloads, call }, mesh));
  return lines.filter((line) => line !== undefined);
}

interface Behind {
  readonly workloadPort: Destination["workloadPort"];
  readonly workloads: readonly Workload[];
  readonly call: Call;
}

function requestLine(port: number, behind: Behind, mesh: Mesh): ExplanationLine | undefined {
  const { workloadPort, workloads, call } = behind;
  const { tls, because = "" } = sentTo(port, call, mesh);
  const outcomes = new Map<Fit, Workload[]>();
  for (const workload of workloads) {
    const capture = captureOf(workload, call.namespace);
    const number = workloadPort(port, workload);
    const server = capture === "none" ? undefined : mtlsModeOf(workload, call.namespace, mesh, number)?.mode;
    const fit = fitOf(tls, server, mesh.settings.autoMtls);
    outcomes.set(fit, [...(outcomes.get(fit) ?? []), workload]);
  }
  if (outcomes.size === 0) return undefined;
  const shown = [...outcomes].map(([fit, by]) =>
    outcomes.size === 1 ? fits[fit] : `${fits[fit]} at ${listed(by, 2)}`,
  );
  return {
    key: "request",
    of: String(port),
    text: `A request to port ${port}: ${shown.join(", ")} (clients send ${sends[tls]}${because})`,
    value: [...outcomes.keys()],
  };
}

/** What most clients of the namespace send; those that are not in the mesh know no certificates. */
function sentTo(port: number, { client, host, namespace }: Call, mesh: Mesh): { tls: ClientTls; because?: string } {
  if (isOutside(client, mesh)) return { tls: "plaintext", because: ", having no proxy" };
  if (enrollmentOf(namespaceIn(mesh, client)) === "ambient") return { tls: "auto" };
  const rules = destinationRulesOfHost(host, mesh);
  const { used } = destinationRuleChoices({ client, host, namespace: namespace.metadata.name }, rules, mesh.settings);
  const { tls, rule } = clientTlsOf(used.at(-1), port);
  return rule === undefined || tls === "auto" ? { tls } : { tls, because: `, by ${idOf(rule)}` };
}
