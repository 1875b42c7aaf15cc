import type { ChangedPlace } from "../authorization/changed-places.ts";
import { namespacesInForce } from "../authorization/proxy-attachments.ts";
import { anyCallers, type Callers } from "../authorization/requests/gains.ts";
import { acceptingTokensIn } from "../authorization/token-checks.ts";
import { type Namespace, rootOfNamespace } from "../membership/namespaces.ts";
import { forWording, type MeshView } from "../../view/view.ts";
import { acceptsPlaintext, mtls, type NamespaceMtls, planes, planesOf, type Workload } from "./effective-mtls.ts";

/** Who can come decides what a change of policies gives away. What decides who can come gives away no policy itself. */
const acceptingTokensNow = forWording(acceptingTokensIn);
const mtlsNow = forWording(mtls);

/** What CertainCallers read, and the kinds without which they know nothing. */
export const readsCertainCallers = [acceptingTokensNow, mtlsNow, rootOfNamespace] as const;
export const kindsOfCertainCallers = ["PeerAuthentication", "RequestAuthentication"] as const;

/**
 * What is certain about the callers of the places of a namespace. namespace-mtls-weakened and namespace-token-issuer-added report when it is
 * not so any more.
 */
export class CertainCallers {
  readonly #object: Namespace;
  readonly #mesh: MeshView<(typeof readsCertainCallers)[number]>;
  #own: Omit<Callers, "passSidecar"> | undefined;

  constructor({
    object,
    mesh,
  }: { readonly object: Namespace; readonly mesh: MeshView<(typeof readsCertainCallers)[number]> }) {
    this.#object = object;
    this.#mesh = mesh;
  }

  /** At a gateway, callers come from outside the mesh; what decides about those of a waypoint elsewhere is in its namespace. */
  at({ hasLeft, isIngress, target }: ChangedPlace): Callers | undefined {
    if (hasLeft !== undefined) return undefined;
    this.#own ??= this.#find();
    const { haveIdentity } = this.#own;
    return { ...this.#own, haveIdentity: haveIdentity && !isIngress, passSidecar: target === undefined };
  }

  /** Those of one workload that is no gateway: a policy with a selector may decide whether it accepts plaintext, at some ports or at all. */
  ofWorkload(workload: Workload): Callers {
    const [object, mesh] = [this.#object, this.#mesh];
    const modes = mesh.get(mtlsNow, object);
    const { planes: of } = planesOf(workload, object, mesh.settings);
    const isRefused = (plane: (typeof of)[number]): boolean => {
      const { mode, ports } = modes.of(workload.pod.labels, plane);
      return ![mode, ...ports.values()].some(acceptsPlaintext);
    };
    return {
      ...anyCallers,
      haveIdentity: mesh.knowsAll("PeerAuthentication") && of.length > 0 && of.every(isRefused),
    };
  }

  /** Those of workloads that no policy selects, if none selects any. */
  get ofUnselected(): Callers {
    this.#own ??= this.#find();
    return { ...anyCallers, haveIdentity: this.#own.haveIdentity };
  }

  #find(): Omit<Callers, "passSidecar"> {
    const [object, mesh] = [this.#object, this.#mesh];
    return {
      haveIdentity: mesh.knowsAll("PeerAuthentication") && isStrict(mesh.get(mtlsNow, object)),
      haveNoToken:
        mesh.knowsAll("RequestAuthentication") &&
        namespacesInForce(object, mesh).every((namespace) => mesh.get(acceptingTokensNow, namespace).length === 0),
    };
  }
}

const isStrict = ({ levels, wide, isOfAll }: NamespaceMtls): boolean =>
  isOfAll && levels.workload.length === 0 && planes.every((plane) => !acceptsPlaintext(wide(plane)));
