/**
 * Container image references: `[HOST[:PORT]/]REPOSITORY[:TAG][@DIGEST]`. The grammar is that of github.com/distribution/reference
 * (reference.go and regexp.go, ParseNormalizedNamed), which the kubelet and container runtimes use; a pod with another reference
 * never starts (InvalidImageName).
 */

const label = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const host = new RegExp(`^(?:${label}(?:\\.${label})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`);
const pathPart = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const tagPattern = /^\w[\w.-]{0,127}$/;
const digestPattern = /^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$/;
/** The lengths of the digests that are registered (github.com/opencontainers/go-digest algorithm.go). */
const hexDigits: ReadonlyMap<string, number> = new Map([
  ["sha256", 64],
  ["sha384", 96],
  ["sha512", 128],
]);
/** In characters, host and path together, without tag and digest. */
const longestName = 255;

/** What is wrong with an image reference, as a sentence without a full stop; undefined: it is valid. */
export function imageReferenceProblem(text: string): string | undefined {
  const [rest = "", digest, more] = text.split("@");
  if (more !== undefined) return "it has a second @";
  const slash = rest.lastIndexOf("/");
  const colon = rest.indexOf(":", slash + 1);
  const [name, tag] = colon === -1 ? [rest, undefined] : [rest.slice(0, colon), rest.slice(colon + 1)];
  return problemOfName(name) ?? problemOfTag(tag) ?? problemOfDigest(digest);
}

function problemOfName(name: string): string | undefined {
  const [first = "", ...others] = name.split("/");
  // As in splitDockerDomain of normalize.go: what else comes first is a part of the path.
  const hasHost = others.length > 0 && isHost(first);
  if (hasHost && !host.test(first)) return `${JSON.stringify(first)} is no host with or without a port`;
  if (name === "") return "the name is missing";
  const wrong = (hasHost ? others : [first, ...others]).find((part) => !pathPart.test(part));
  if (wrong !== undefined) return problemOfPart(wrong);
  if (/^[a-f0-9]{64}$/.test(name)) return "64 hexadecimal digits are the id of an image, not its name";
  return name.length > longestName
    ? `the name has ${name.length} characters, and at most ${longestName} are valid`
    : undefined;
}

const isHost = (first: string): boolean =>
  /[.:[]/.test(first) || first === "localhost" || first.toLowerCase() !== first;

function problemOfPart(part: string): string {
  if (part === "") return "a part of the name between two / is empty";
  const lower = part.toLowerCase();
  if (lower !== part && pathPart.test(lower))
    return `names of repositories are in lower case: ${JSON.stringify(lower)} instead of ${JSON.stringify(part)}`;
  return `${JSON.stringify(part)} is no part of a name: lower case letters and digits, separated by one ., one or two _, or any number of -`;
}

function problemOfTag(tag: string | undefined): string | undefined {
  if (tag === undefined || tagPattern.test(tag)) return undefined;
  return tag === ""
    ? "the tag after : is missing"
    : `${JSON.stringify(tag)} is no tag: at most 128 letters, digits, _, . and -, of which the first is no . or -`;
}

function problemOfDigest(digest: string | undefined): string | undefined {
  if (digest === undefined) return undefined;
  const [algorithm = "", hex = ""] = digest.split(":");
  const wanted = hexDigits.get(algorithm);
  if (wanted !== undefined && (hex.length !== wanted || /[^0-9a-f]/.test(hex)))
    return `a digest of ${algorithm} has ${wanted} hexadecimal digits in lower case, and ${JSON.stringify(hex)} has ${hex.length} characters`;
  return digestPattern.test(digest) ? undefined : `${JSON.stringify(digest)} is no digest, such as sha256:HEX`;
}
