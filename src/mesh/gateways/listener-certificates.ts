import type { ObjectOf } from "../../kube/object.ts";
import { fact, index, type MeshView, relation } from "../../view/view.ts";
import type { KubernetesGateway } from "../membership/gateways.ts";

// The certificates of listeners of the Gateway API: what they name, and whether they may (Istio
// pilot/pkg/config/kube/gateway/conversion.go buildTLS, gatewaycommon/references.go SecretAllowed). Secrets and ConfigMaps are not read.

type Listener = KubernetesGateway["spec"]["listeners"][number];
/** What a listener is written in. */
type Owner = KubernetesGateway | ObjectOf<"ListenerSet">;
/** A listener of a Gateway, which the Gateway itself or a ListenerSet adds to it. */
interface OwnedListener {
  readonly of: KubernetesGateway;
  readonly owner: Owner;
  readonly listener: Listener;
}
type ListenerTls = NonNullable<Listener["tls"]>;
type CertificateRef = ListenerTls["certificateRefs"][number];

/** The option of a listener that says how it ends TLS. */
const terminateMode = "gateway.istio.io/tls-terminate-mode";
export const terminateModeOf = ({ options }: ListenerTls): string => options[terminateMode] ?? "";

/** Whether a listener has the certificate of the proxy itself, so that no others are read. */
export const isOwnCertificate = (mode: string): boolean => mode === "ISTIO_SIMPLE" || mode === "ISTIO_MUTUAL";

/** How certificates of clients are validated at a port, whose own setting replaces the default (conversion.go resolveGatewayTLS). */
export function validationOf({ spec }: KubernetesGateway, port: number | undefined) {
  const frontend = spec.tls?.frontend;
  const ofPort = frontend?.perPort.find((one) => one.port === port);
  return (ofPort === undefined ? frontend?.default : ofPort.tls)?.validation;
}

export type ClientValidation = ReturnType<typeof validationOf>;
export type AuthorityRef = NonNullable<ClientValidation>["caCertificateRefs"][number];

/** The TLS of a listener that reads certificates. */
const readingTls = ({ tls }: Listener): ListenerTls | undefined =>
  tls === undefined || tls.mode === "Passthrough" || isOwnCertificate(terminateModeOf(tls)) ? undefined : tls;

/** Why istiod refuses the number of certificates of a listener; undefined: it does not. */
export function tooManyCertificates(listener: Listener, gateway: KubernetesGateway): string | undefined {
  const tls = readingTls(listener);
  if (tls === undefined) return undefined;
  if (tls.certificateRefs.length > 2) return "it names more than two certificates";
  const authorities = validationOf(gateway, listener.port)?.caCertificateRefs.length ?? 0;
  return authorities > 1 ? "it names more than one CA certificate" : undefined;
}

const gatewayGroup = "gateway.networking.k8s.io";
const isSecret = ({ group, kind }: CertificateRef): boolean => (group ?? "") === "" && (kind ?? "Secret") === "Secret";
const isAuthority = ({ group, kind }: AuthorityRef): boolean =>
  (group ?? "") === "" && (kind === "ConfigMap" || kind === "Secret");
const namespaceOf = ({ namespace }: CertificateRef | AuthorityRef, { metadata }: Owner): string =>
  namespace || metadata.namespace;

function authoritiesOf({ spec }: KubernetesGateway): readonly AuthorityRef[] {
  const frontend = spec.tls?.frontend;
  const validations = [frontend?.default, ...(frontend?.perPort ?? []).map(({ tls }) => tls)];
  return validations.flatMap((one) => one?.validation?.caCertificateRefs ?? []);
}

/** The namespaces of certificates that are not in the namespace of the listeners, each with what grants for it say. */
function foreignCertificates(owner: Owner): readonly string[] {
  const own = owner.spec.listeners.flatMap(({ tls }) => tls?.certificateRefs ?? []);
  const refs = owner.kind === "ListenerSet" ? own : [...own, ...authoritiesOf(owner)];
  const others = new Set(refs.map((ref) => namespaceOf(ref, owner)));
  others.delete(owner.metadata.namespace);
  return [...others].map((namespace) => `${owner.metadata.namespace} ${namespace}`);
}
const grantsFor = (kind: "Gateway" | "ListenerSet") =>
  index("ReferenceGrant", ({ metadata, spec }) => {
    const from = spec.from.filter((one) => one.group === gatewayGroup && one.kind === kind);
    return new Set(from.map(({ namespace }) => `${namespace} ${metadata.namespace}`));
  });

/** A Gateway of the Gateway API with certificates in other namespaces, and the ReferenceGrants there for Gateways of its namespace. */
const grantsOfKubernetesGateway = relation(
  "grantsOfKubernetesGateway",
  index("KubernetesGateway", foreignCertificates),
  grantsFor("Gateway"),
);

/** The same of a ListenerSet, and the ReferenceGrants for ListenerSets of its namespace. */
const grantsOfListenerSet = relation(
  "grantsOfListenerSet",
  index("ListenerSet", foreignCertificates),
  grantsFor("ListenerSet"),
);

/** The ReferenceGrants for certificates of a Gateway. A fact, because each of its listeners asks for them. */
export const grantsForGateway = fact(
  "grantsForGateway",
  "KubernetesGateway",
  [grantsOfKubernetesGateway],
  (gateway, mesh) => mesh.related(grantsOfKubernetesGateway, gateway),
);

/** The ReferenceGrants for certificates of a ListenerSet. */
export const grantsForListenerSet = fact("grantsForListenerSet", "ListenerSet", [grantsOfListenerSet], (set, mesh) =>
  mesh.related(grantsOfListenerSet, set),
);

/** What `grantsOf` reads. */
export const certificateReads = [grantsForGateway, grantsForListenerSet] as const;

/** The relations that lead to them. */
export const certificateGrants = [grantsOfKubernetesGateway, grantsOfListenerSet] as const;

type ReferenceGrant = ObjectOf<"ReferenceGrant">;

/** The ReferenceGrants for certificates in other namespaces. */
export const grantsOf = (owner: Owner, mesh: MeshView<(typeof certificateReads)[number]>): readonly ReferenceGrant[] =>
  owner.kind === "ListenerSet" ? mesh.get(grantsForListenerSet, owner) : mesh.get(grantsForGateway, owner);

/** What a listener lacks. */
export interface MissingCertificate {
  /** In words, as the rest of a sentence. */
  readonly because: string;
  /** Whether a ReferenceGrant would help. */
  readonly needsGrant: boolean;
}

/**
 * Why a listener has no certificate, or none to validate those of clients with; undefined: it has them, or needs none. Whether the
 * Secrets and the ConfigMap exist is not known here. Of a ListenerSet, the CA certificate is not looked at, which its Gateway names.
 */
export const missingCertificate = (
  listener: OwnedListener,
  grants: readonly ReferenceGrant[],
): MissingCertificate | undefined =>
  readingTls(listener.listener) === undefined
    ? undefined
    : (missingOwn(listener, grants) ?? missingAuthority(listener, grants));

function missingOwn(
  { owner, listener: { tls } }: OwnedListener,
  grants: readonly ReferenceGrant[],
): MissingCertificate | undefined {
  const refs = tls?.certificateRefs ?? [];
  const [first] = refs;
  if (first === undefined) return { because: "it names no certificate", needsGrant: false };
  if (refs.some((ref) => isSecret(ref) && isAllowed(ref, { kind: "Secret", owner, grants }))) return undefined;
  return isSecret(first)
    ? { because: ungranted(first, "Secret", owner), needsGrant: true }
    : { because: "its certificate is no Secret", needsGrant: false };
}

function missingAuthority(
  { owner, listener: { port }, of }: OwnedListener,
  grants: readonly ReferenceGrant[],
): MissingCertificate | undefined {
  const [authority] = owner.kind === "ListenerSet" ? [] : (validationOf(of, port)?.caCertificateRefs ?? []);
  if (authority === undefined) return undefined;
  const { kind = "" } = authority;
  if (!isAuthority(authority))
    return { because: "its CA certificate is neither a ConfigMap nor a Secret", needsGrant: false };
  if (isAllowed(authority, { kind, owner, grants })) return undefined;
  return { because: ungranted(authority, kind, owner), needsGrant: true };
}

const ungranted = (ref: CertificateRef | AuthorityRef, kind: string, owner: Owner): string =>
  `no ReferenceGrant in namespace ${namespaceOf(ref, owner)} lets it use ${kind} ${ref.name}`;

interface Referring {
  readonly kind: string;
  readonly owner: Owner;
  readonly grants: readonly ReferenceGrant[];
}

/** A grant for a CA certificate by its name counts, although istiod asks for another one, with the end `-cacert` (caCertificateResourceName). */
function isAllowed(ref: CertificateRef | AuthorityRef, { kind, owner, grants }: Referring): boolean {
  const namespace = namespaceOf(ref, owner);
  if (namespace === owner.metadata.namespace) return true;
  return grants.some(
    ({ metadata, spec }) =>
      metadata.namespace === namespace &&
      spec.to.some((to) => to.group === "" && to.kind === kind && (to.name === undefined || to.name === ref.name)),
  );
}
