import { isObject, member } from "../kube/read.ts";
import { type Authority, certificatesIn, checkedAuthority } from "../tls/authority.ts";
import { CertificateError } from "../tls/certificate-source.ts";
import { type AuthorityState, bundleFor } from "../tls/rotation.ts";
import type { KubeObject, ObjectName, Resource } from "./objects.ts";

export const secrets: Resource = { group: "", version: "v1", kind: "Secret", plural: "secrets", namespaced: true };

/** An annotation of the Secret with any new text asks for a rotation. */
export const rotateAnnotation = "meshward.io/rotate";

/**
 * The fields of the Secret's `data`. `ca.crt` is what clients have to trust, under the name that other tools look for. The
 * keys of former authorities are not kept.
 */
const fields = {
  bundle: "ca.crt",
  issuer: ["issuer.crt", "issuer.key"],
  next: ["next.crt", "next.key"],
  rotation: "rotation.json",
} as const;

const base64 = (text: string): string => Buffer.from(text).toString("base64");

type Rotation = Omit<AuthorityState, "issuer" | "next" | "previous">;

/** The Secret that contains this state; labels, annotations and other data stay as they are. */
export function secretOf(state: AuthorityState, at: ObjectName, found: KubeObject | undefined): KubeObject {
  const { issuer, next, previous: _, ...rotation } = state;
  const data: Record<string, string> = {
    [fields.bundle]: base64(bundleFor(state)),
    [fields.issuer[0]]: base64(issuer.cert),
    [fields.issuer[1]]: base64(issuer.key),
    [fields.rotation]: base64(JSON.stringify(rotation)),
  };
  if (next !== undefined) {
    data[fields.next[0]] = base64(next.cert);
    data[fields.next[1]] = base64(next.key);
  }
  if (found === undefined)
    return { metadata: { ...at, labels: { "app.kubernetes.io/name": "meshward" } }, type: "Opaque", data };
  const ours = new Set<string>([fields.bundle, fields.rotation, ...fields.issuer, ...fields.next]);
  const others = isObject(found["data"]) ? Object.entries(found["data"]).filter(([name]) => !ours.has(name)) : [];
  return { ...found, data: { ...Object.fromEntries(others), ...data } };
}

/**
 * Reads the state, whoever wrote it. What is damaged beside the issuer is left out, because it can be made anew.
 * @throws CertificateError that says what is wrong, and never what is in the Secret
 */
export function stateIn(secret: KubeObject): AuthorityState {
  const [certField, keyField] = fields.issuer;
  const issuer = { cert: textOf(secret, certField), key: textOf(secret, keyField) };
  if (issuer.cert === "" && issuer.key === "") throw new CertificateError("it contains no issuer.crt and issuer.key");
  const known = new Set([checkedAuthority(issuer, "issuer").fingerprint256]);
  const next = nextIn(secret);
  if (next !== undefined) known.add(checkedAuthority(next, "next").fingerprint256);
  const previous = certificatesIn(textOf(secret, fields.bundle))
    .filter(({ fingerprint256, ca }) => ca && !known.has(fingerprint256))
    .map((certificate) => certificate.toString());
  return { issuer, ...(next === undefined ? {} : { next }), previous, ...rotationIn(secret) };
}

function nextIn(secret: KubeObject): Authority | undefined {
  const next = { cert: textOf(secret, fields.next[0]), key: textOf(secret, fields.next[1]) };
  try {
    checkedAuthority(next, "next");
    return next;
  } catch {
    return undefined;
  }
}

function rotationIn(secret: KubeObject): Rotation {
  const rotation = parsed(textOf(secret, fields.rotation));
  const read = <T>(field: string, is: (value: unknown) => value is T) => {
    const value = member(rotation, field);
    return is(value) ? { [field]: value } : {};
  };
  return {
    ...read("generation", isWhole),
    ...read("publishedAt", isWhole),
    ...read("switchedAt", isWhole),
    ...read("begun", isText),
    ...read("distrust", isFlag),
    ...read("cluster", isText),
  };
}

const isWhole = (value: unknown): value is number => Number.isSafeInteger(value);
const isText = (value: unknown): value is string => typeof value === "string";
const isFlag = (value: unknown): value is boolean => typeof value === "boolean";

/** Somebody's request for a rotation, which is new if it differs from the one that was begun last. */
export const requestIn = (secret: KubeObject | undefined): string | undefined =>
  secret?.metadata.annotations?.[rotateAnnotation];

/** The field as text; empty if it is absent or of another type. */
function textOf(secret: KubeObject, field: string): string {
  const value = member(secret["data"], field);
  return typeof value === "string" ? Buffer.from(value, "base64").toString("utf8") : "";
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
