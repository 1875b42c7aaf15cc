import { byId, idOf } from "../kube/identity.ts";
import { namespacesOfDefinition, type Host } from "../mesh/traffic/host-definition.ts";
import { Egress, isRegistryOnly, selectorOfSidecar, sidecarFor, sidecarsIn } from "../mesh/traffic/sidecar-egress.ts";
import { usedVirtualService, virtualServicesOfHost } from "../mesh/traffic/virtual-service-choices.ts";
import { formatLabels } from "../mesh/objects/selectors.ts";
import { type ExplanationLine, objectLine } from "../report/explanation.ts";
import type { Mesh } from "../view/view.ts";

/** What the Sidecars of a namespace leave its clients of a host; none without a Sidecar that limits them. */
export function sidecarLines(host: Host, client: string, mesh: Mesh): readonly ExplanationLine[] {
  const { own, ofRoot } = sidecarsIn(client, mesh);
  const common = sidecarFor(
    own.filter((one) => selectorOfSidecar(one) === undefined),
    ofRoot,
    {},
  );
  const selecting = own.filter((one) => selectorOfSidecar(one) !== undefined).sort(byId);
  return [...selecting, ...(common === undefined ? [] : [common])].flatMap((sidecar) => {
    const egress = new Egress(sidecar, client);
    if (egress.importsAll) return [];
    const selector = selectorOfSidecar(sidecar);
    const who = selector === undefined ? "" : ` for clients with ${formatLabels(selector)}`;
    const places = [...namespacesOfDefinition(host, mesh.settings)];
    const isImported = places.some((namespace) => egress.importsService(host.host, namespace));
    const used = usedVirtualService(client, host.host, virtualServicesOfHost(host.host, mesh), mesh.settings);
    const isRouted = used === undefined || egress.importsVirtualService(used, mesh);
    const refused = isRegistryOnly(sidecar, mesh.settings)
      ? "are refused"
      : "go to the address that the client looked up, past the mesh";
    const text = isImported
      ? isRouted
        ? `imports the host${who}`
        : `imports the host${who}, and not ${idOf(used)}, which has no effect for them`
      : `does not import the host${who}: requests for it ${refused}, unless an imported VirtualService routes to it`;
    const value = isImported ? (isRouted ? "imported" : "without routes") : "hidden";
    return [objectLine("sidecar", sidecar, `${idOf(sidecar)} ${text}`, { value })];
  });
}
