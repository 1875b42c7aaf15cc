import type { Server } from "./servers.ts";

/** Which client certificates the servers for one host accept. */
export interface ClientCertificates {
  /** The subject names of which a certificate needs one; undefined: any name will do. */
  readonly names: ReadonlySet<string> | undefined;
  /** Hashes of certificates and of their keys, of which a certificate needs one; undefined: any will do. */
  readonly pins: ReadonlySet<string> | undefined;
  /**
   * The authorities that are named on their own. A CA that belongs to `credentialName` is not among them: it is renewed together with
   * the certificate of the server.
   */
  readonly authorities: ReadonlySet<string>;
  /** Whether a list of revoked certificates is read. */
  readonly isRevocable: boolean;
}

/**
 * What one server with mode MUTUAL or ISTIO_MUTUAL accepts (Istio pilot/pkg/security/model/authentication.go
 * ApplyCredentialSDSToServerCommonTLSContext, ApplyToCommonTLSContext; pilot/pkg/networking/core/listener.go BuildListenerTLSContext).
 * Pins count only with `credentialName` and `credentialNames`, and caCrl only with files.
 */
export function clientCertificatesOf(tls: NonNullable<Server["tls"]>): ClientCertificates {
  const isFromSecret = tls.credentialNames.length > 0 || Boolean(tls.credentialName);
  const authority = isFromSecret || !tls.caCertificates ? tls.caCertCredentialName : tls.caCertificates;
  return {
    names: listed(tls.subjectAltNames),
    pins: listed(isFromSecret ? [...tls.verifyCertificateSpki, ...tls.verifyCertificateHash] : []),
    authorities: new Set(authority ? [authority] : []),
    isRevocable: !isFromSecret && Boolean(tls.caCrl),
  };
}

/** What several servers for one host accept together. */
export function acceptedByAny(servers: readonly ClientCertificates[]): ClientCertificates {
  const [only] = servers;
  if (only !== undefined && servers.length === 1) return only;
  return {
    names: union(servers.map(({ names }) => names)),
    pins: union(servers.map(({ pins }) => pins)),
    authorities: new Set(servers.flatMap(({ authorities }) => [...authorities])),
    isRevocable: servers.every(({ isRevocable }) => isRevocable),
  };
}

/** How much `acceptedByAny` and `newlyAccepted` compare. */
export const sizeOf = ({ names, pins }: ClientCertificates): number => (names?.size ?? 0) + (pins?.size ?? 0);

/** Which certificates are accepted that were not before, as the rest of a sentence about clients; undefined: none. */
export function newlyAccepted(before: ClientCertificates, after: ClientCertificates): string | undefined {
  const name = added(before.names, after.names);
  if (name !== undefined) return `may have a certificate for ${name}`;
  if (added(before.pins, after.pins) !== undefined) return "may have certificates and keys with other hashes";
  const authority = added(before.authorities, after.authorities);
  // Nothing was named before if the CA came with the certificate of the server.
  if (authority !== undefined && before.authorities.size > 0) return `may have a certificate of the CA in ${authority}`;
  if (before.isRevocable && !after.isRevocable) return "may have a certificate that was revoked";
  return undefined;
}

const listed = (values: readonly (string | undefined)[]): ReadonlySet<string> | undefined =>
  values.length === 0 ? undefined : new Set(values.map((value) => value ?? ""));

function union(sets: readonly (ReadonlySet<string> | undefined)[]): ReadonlySet<string> | undefined {
  const given = sets.filter((set) => set !== undefined);
  return given.length < sets.length ? undefined : new Set(given.flatMap((set) => [...set]));
}

/** A value that is accepted since a change, in quotes. */
function added(before: ReadonlySet<string> | undefined, after: ReadonlySet<string> | undefined): string | undefined {
  if (before === undefined) return undefined;
  if (after === undefined) return "any name";
  const value = [...after].find((one) => !before.has(one));
  return value === undefined ? undefined : JSON.stringify(value);
}
