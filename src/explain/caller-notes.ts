import { byId, idOf } from "../kube/identity.ts";
import { accountKey, whatRunsAsAccount } from "../mesh/authorization/named-accounts.ts";
import type { Outcome } from "../mesh/requests/outcome.ts";
import type { EntryHost } from "../mesh/requests/front.ts";
import type { Caller, Target } from "../mesh/requests/question.ts";
import { hostOfService } from "../mesh/traffic/hosts.ts";
import { sidecarsWithoutHost } from "../mesh/traffic/sidecar-egress.ts";
import type { ExplanationLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";

/** What an answer does not say about its callers: that none is known, or that a Sidecar keeps some of them from the host. */
export function callerNotes(
  { caller, to }: { readonly caller: Caller; readonly to: Target | EntryHost },
  outcomes: readonly Outcome[],
  mesh: Mesh,
): readonly ExplanationLine[] {
  if (caller.kind === "mesh") return hiddenBySidecars(to, outcomes, mesh);
  const text = noteOnAccount(caller, mesh);
  return text === undefined ? [] : [{ key: "callers.unknown", text, value: formatAccount(caller) }];
}

/** An answer about pods to come is right, and one about a name that was misspelt is not. */
export function noteOnAccount(caller: Caller, mesh: Mesh): string | undefined {
  if (caller.kind !== "serviceAccount" || !mesh.knows("Workload")) return undefined;
  const key = accountKey({ namespace: caller.namespace.metadata.name, account: caller.name });
  return whatRunsAsAccount.some((relation) => mesh.hasUnder(relation, key))
    ? undefined
    : `No known workload runs with service account ${formatAccount(caller)}: the answer is for pods that may come`;
}
const formatAccount = (caller: Caller): string =>
  caller.kind === "serviceAccount" ? `${caller.namespace.metadata.name}/${caller.name}` : "";

const mostNamed = 3;

/** The rest of the mesh is asked about without the Sidecars of its namespaces (Sources.ofMesh), those of the root namespace aside. */
function hiddenBySidecars(
  to: Target | EntryHost,
  outcomes: readonly Outcome[],
  mesh: Mesh,
): readonly ExplanationLine[] {
  const host = hostAskedFor(to, mesh);
  if (host === undefined) return [];
  const apart = new Set([
    mesh.settings.rootNamespace,
    ...outcomes.map(({ source }) => source.namespace?.metadata.name),
  ]);
  const hiding = sidecarsWithoutHost({ ...host, port: to.port }, mesh).filter(
    ({ metadata }) => !apart.has(metadata.namespace),
  );
  const [first, ...others] = hiding.toSorted(byId);
  if (first === undefined) return [];
  const named = [first, ...others.slice(0, mostNamed - 1)].map(idOf).join(", ");
  const rest = hiding.length > mostNamed ? ` and ${hiding.length - mostNamed} more` : "";
  return [
    {
      key: "callers.sidecars",
      text: `Sidecars of other namespaces are not counted: ${named}${rest} ${others.length > 0 ? "do" : "does"} not import the host; ask with --from namespace/${first.metadata.namespace}`,
      value: hiding.map(idOf),
      objects: hiding,
    },
  ];
}

function hostAskedFor(to: Target | EntryHost, mesh: Mesh) {
  if (to.kind === "service")
    return { name: hostOfService(to.service, mesh.settings.domain), namespaces: [to.service.metadata.namespace] };
  return to.kind === "host" && to.entries.length > 0
    ? { name: to.host, namespaces: to.entries.map(({ metadata }) => metadata.namespace) }
    : undefined;
}
