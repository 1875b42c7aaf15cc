import { certificateSecret, type KubernetesObject, installationName } from "./object.ts";

const apiVersion = "cert-manager.io/v1";
const authority = `${installationName}-ca`;
const privateKey = { algorithm: "ECDSA", size: 256 };

/** Makes cert-manager's cainjector set caBundle to the authority of the webhook's certificate. */
export const injectedAuthority = (namespace: string): Readonly<Record<string, string>> => ({
  "cert-manager.io/inject-ca-from": `${namespace}/${installationName}`,
});

/**
 * A certificate authority of its own and a certificate that it signs. A certificate that signs itself would change its
 * authority with each renewal, and reviews would fail until caBundle has followed.
 */
export function certManagerObjects(namespace: string, dnsNames: readonly string[]): readonly KubernetesObject[] {
  const named = (kind: string, name: string, spec: object): KubernetesObject => ({
    apiVersion,
    kind,
    metadata: { name, namespace },
    spec,
  });
  const signedBy = (name: string) => ({ group: "cert-manager.io", kind: "Issuer", name });
  return [
    named("Issuer", `${installationName}-self-signed`, { selfSigned: {} }),
    named("Certificate", authority, {
      commonName: authority,
      secretName: authority,
      isCA: true,
      duration: "87600h",
      privateKey,
      issuerRef: signedBy(`${installationName}-self-signed`),
    }),
    named("Issuer", authority, { ca: { secretName: authority } }),
    named("Certificate", installationName, {
      secretName: certificateSecret,
      dnsNames,
      duration: "2160h",
      renewBefore: "720h",
      privateKey: { ...privateKey, rotationPolicy: "Always" },
      usages: ["digital signature", "server auth"],
      issuerRef: signedBy(authority),
    }),
  ];
}
