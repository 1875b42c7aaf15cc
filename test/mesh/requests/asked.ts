import { keyFor } from "../../../src/kube/identity.ts";
import { readAny } from "../../../src/kube/object.ts";
import { Addresses } from "../../../src/mesh/authorization/requests/addresses.ts";
import { type Box, type Clause, everyRequest } from "../../../src/mesh/authorization/requests/boxes.ts";
import { Texts } from "../../../src/mesh/authorization/requests/texts.ts";
import { Work } from "../../../src/mesh/authorization/requests/work.ts";
import { namespaceIn } from "../../../src/mesh/membership/namespaces.ts";
import type { Outcome } from "../../../src/mesh/requests/outcome.ts";
import { outcomesOf } from "../../../src/mesh/requests/outcomes.ts";
import type { Caller, Target } from "../../../src/mesh/requests/question.ts";
import { formatOutcome } from "../../../src/mesh/requests/wording.ts";
import { hostIn } from "../../../src/mesh/traffic/host-definition.ts";
import { defaultMeshSettings, meshSettingsOf } from "../../../src/view/settings.ts";
import { sideOf } from "../../../src/view/side.ts";
import { MeshStore } from "../../../src/view/store.ts";
import type { Knowledge, Mesh } from "../../../src/view/view.ts";
import type { Kind } from "../../../src/kube/kinds.ts";
import { documentsOf } from "./documents.ts";

/** A mesh of the objects in a text of YAML documents. Kinds that `knowledge` does not name are complete. */
export function meshOf(text: string, knowledge: Partial<Record<Kind, Knowledge>> = {}): Mesh {
  const objects = documentsOf(text).map((raw) => {
    const object = readAny(raw, "default");
    if (object === undefined) throw new Error(`no kind that Meshward reads: ${JSON.stringify(raw)}`);
    return object;
  });
  const mesh = new MeshStore(
    meshSettingsOf(objects, defaultMeshSettings),
    new Map(Object.entries(knowledge) as [Kind, Knowledge][]),
  );
  for (const object of objects) mesh.set(object);
  return sideOf(mesh);
}

const [of, workloadKinds] = [
  (mesh: Mesh, name: string) => namespaceIn(mesh, name),
  ["Deployment", "StatefulSet", "Pod"],
];

function workloadIn(mesh: Mesh, namespace: string, name: string) {
  for (const originKind of workloadKinds) {
    const found = mesh.find("Workload", keyFor("Workload", { originKind, namespace, name }));
    if (found?.kind === "Workload") return found;
  }
  throw new Error(`there is no workload ${namespace}/${name}`);
}

/** `mesh`, `outside`, `web` (a namespace), `web/sa/client`, `web/client` (a workload). */
export function callerIn(mesh: Mesh, text: string): Caller {
  if (text === "mesh" || text === "outside") return { kind: text };
  const [namespace = "", word, name] = text.split("/");
  if (word === undefined) return { kind: "namespace", namespace: of(mesh, namespace) };
  if (name !== undefined) return { kind: "serviceAccount", namespace: of(mesh, namespace), name };
  return { kind: "workload", workload: workloadIn(mesh, namespace, word), namespace: of(mesh, namespace) };
}

/** `shop/x:80`: a port of a Service; `shop/pod/x:8080`: a port of a workload; `api.stripe.com:443`: a port of a host that is no Service. */
export function targetIn(mesh: Mesh, text: string): Target {
  const [path = "", port] = text.split(":");
  const parts = path.split("/");
  const [namespace = "", name = "", pod] = parts;
  if (parts.length === 1) {
    const { entries } = hostIn(mesh, path);
    return { kind: "host", host: path, entries, namespace: of(mesh, "web"), port: Number(port) };
  }
  if (pod !== undefined)
    return {
      kind: "workloads",
      workloads: [workloadIn(mesh, namespace, pod)],
      namespace: of(mesh, namespace),
      port: Number(port),
    };
  const service = mesh.find("Service", keyFor("Service", { originKind: "Service", namespace, name }));
  if (service?.kind !== "Service") throw new Error(`there is no Service ${path}`);
  return { kind: "service", service, namespace: of(mesh, namespace), port: Number(port) };
}

export const texts = (attribute: Clause["attribute"], ...values: readonly string[]): Clause => ({
  attribute,
  values: new Texts(values.map((value) => [value])),
  not: false,
});
export const address = (attribute: "source.ip" | "remote.ip", ...blocks: readonly string[]): Clause => ({
  attribute,
  values: Addresses.of(...blocks),
  not: false,
});

export function boxOf(...clauses: readonly Clause[]): Box {
  const box = everyRequest.withAll(clauses, new Work(10_000));
  if (box === undefined) throw new Error("these conditions contradict each other");
  return box;
}

/** `from`, `to`, and conditions on the requests. */
export const asked = (mesh: Mesh, from: string, to: string, ...clauses: readonly Clause[]): readonly Outcome[] => [
  ...outcomesOf({ caller: callerIn(mesh, from), to: targetIn(mesh, to), requests: boxOf(...clauses) }, mesh),
];

/** Each different outcome as a sentence, with the workloads at which it is the outcome and the share, if it is not all. */
export const told = (...question: Parameters<typeof asked>): readonly string[] => [
  ...new Set(
    asked(...question).map((outcome) => {
      const { destination, workloads } = outcome;
      const share = destination === undefined || destination.share === 1 ? "" : `${destination.share * 100}% `;
      const at = workloads.length === 0 ? "" : ` [${workloads.map(({ metadata }) => metadata.name).join(" ")}]`;
      return `${share}${formatOutcome(outcome)}${at}`;
    }),
  ),
];
