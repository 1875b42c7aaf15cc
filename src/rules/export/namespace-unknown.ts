import { absentHere } from "../../engine/evidence.ts";
import { defineRule } from "../../engine/rule.ts";
import type { Path } from "../../kube/read.ts";
import type { ObjectOf } from "../../kube/object.ts";
import { namespacesNotShown } from "../../mesh/membership/namespaces.ts";
import { namespaceByName } from "../../mesh/objects/indexes.ts";
import { isServed } from "../../mesh/objects/revision.ts";
import { exportToAnnotation } from "../../mesh/traffic/definition-choice.ts";
import { index, type Index, type MeshView, relation } from "../../view/view.ts";

const kinds = ["VirtualService", "DestinationRule", "ServiceEntry", "Service"] as const;
type Exported = ObjectOf<(typeof kinds)[number]>;

/** What exportTo says, which a Service has in an annotation. */
const exportsOf = (object: Exported): readonly string[] =>
  object.kind === "Service"
    ? (object.metadata.annotations[exportToAnnotation] ?? "").split(",").map((name) => name.trim())
    : object.spec.exportTo;

/** The names of namespaces in exportTo, with their paths. */
function namespacesIn(object: Exported): readonly (readonly [string, Path])[] {
  const said = exportsOf(object);
  // A list with `*` is for all. A DestinationRule with a workloadSelector is private, whatever it says.
  const isPrivate = object.kind === "DestinationRule" && object.spec.workloadSelector !== undefined;
  if (isPrivate || said.includes("*") || said.includes("~")) return [];
  const at = (i: number): Path =>
    object.kind === "Service" ? ["metadata", "annotations", exportToAnnotation] : ["spec", "exportTo", i];
  return said.flatMap((name, i) => (name === "" || name === "." ? [] : [[name, at(i)] as const]));
}

const byExport = <K extends (typeof kinds)[number]>(kind: K): Index<K> =>
  index(kind, (one, settings) => {
    const object = one as Exported;
    return isServed(object, settings) ? new Set(namespacesIn(object).map(([name]) => name)) : [];
  });

/** A VirtualService and the namespaces that it is exported to by name. */
const namespacesOfExportedVirtualService = relation(
  "namespacesOfExportedVirtualService",
  byExport("VirtualService"),
  namespaceByName,
);
/** A DestinationRule and the namespaces that it is exported to by name. */
const namespacesOfExportedDestinationRule = relation(
  "namespacesOfExportedDestinationRule",
  byExport("DestinationRule"),
  namespaceByName,
);
/** A ServiceEntry and the namespaces that it is exported to by name. */
const namespacesOfExportedServiceEntry = relation(
  "namespacesOfExportedServiceEntry",
  byExport("ServiceEntry"),
  namespaceByName,
);
/** A Service and the namespaces that it is exported to by name. */
const namespacesOfExportedService = relation("namespacesOfExportedService", byExport("Service"), namespaceByName);

const reads = [
  namespacesOfExportedVirtualService,
  namespacesOfExportedDestinationRule,
  namespacesOfExportedServiceEntry,
  namespacesOfExportedService,
] as const;

export const exportNamespaceUnknown = defineRule({
  id: "export-namespace-unknown",
  subject: kinds,
  reads,
  worksWithout: [...kinds],
  mode: "warn",
  since: "0.1.0",
  // The namespace may be created later.
  stage: "trial",
  summary: "An object is exported to a namespace that does not exist.",
  why: "Only proxies of the namespaces in exportTo use the object, and its own namespace is one of them only if the list says so (Istio pilot/pkg/model/push_context.go initVirtualServices, setDestinationRules, initServiceRegistry). With names that are misspelt alone, nobody uses it: routes and settings have no effect, and a Service or a ServiceEntry is no known host. Only a VirtualService still leads sidecars to one in their own namespace (pilot/pkg/model/sidecar.go collectImportedServices).",
  fix: "Correct the name. `.` is the namespace of the object, and `*` stands for all.",
  incident: {
    symptoms: ["no-effect", "no-cluster"],
    proxies: ["sidecar", "gateway", "waypoint"],
    seen: "Clients behave as if the object did not exist. `istioctl proxy-config` of a client does not show it.",
    wayOut: 'Remove exportTo, or add `"*"`, until the intended namespaces are known.',
    silentWhen: "The Namespaces of the mesh are not known, or the list has `*` or `~` too.",
    page: "https://istio.io/latest/docs/reference/config/networking/virtual-service/",
  },

  *check(object, mesh) {
    // Where no Namespaces are known, those that other objects mention are only some of them.
    if (!mesh.knows("Namespace") || !isServed(object, mesh.settings)) return;
    const entries = namespacesIn(object);
    if (entries.length === 0) return;
    const shown = namespacesOf(object, mesh).map(({ metadata }) => metadata.name);
    const known = new Set([...shown, ...namespacesNotShown(mesh)]);
    const isUsed = exportsOf(object).includes(".") || entries.some(([name]) => known.has(name));
    for (const [name, at] of entries)
      if (!known.has(name))
        yield {
          at,
          message: `Namespace ${JSON.stringify(name)} in exportTo does not exist${isUsed ? "" : effectOf(object)}`,
          key: name,
          evidence: [absentHere("Namespace", "", name)],
        };
  },
});

/**
 * A VirtualService leads sidecars to what its host names in their own namespace, whatever that is exported to (Istio
 * pilot/pkg/model/sidecar.go collectImportedServices), so that a host is not without any client for certain.
 */
const effectOf = ({ kind, metadata }: Exported): string =>
  kind === "Service" || kind === "ServiceEntry"
    ? `, so no proxy uses this ${kind}, unless a VirtualService leads sidecars of namespace ${metadata.namespace} to it`
    : `, so no proxy uses this ${kind}`;

type View = MeshView<(typeof reads)[number]>;

function namespacesOf(object: Exported, mesh: View): readonly ObjectOf<"Namespace">[] {
  switch (object.kind) {
    case "VirtualService":
      return mesh.related(namespacesOfExportedVirtualService, object);
    case "DestinationRule":
      return mesh.related(namespacesOfExportedDestinationRule, object);
    case "ServiceEntry":
      return mesh.related(namespacesOfExportedServiceEntry, object);
    default:
      return mesh.related(namespacesOfExportedService, object);
  }
}
