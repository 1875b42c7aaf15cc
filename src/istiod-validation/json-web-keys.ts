import { isObject } from "../kube/read.ts";
import { type Fields, isSet } from "./raw.ts";

/** What a key of one type (`kty`) has: texts in base64, those that it may have if it is private, which `d` says, and other texts. */
interface KeyType {
  readonly required: readonly string[];
  readonly ofPrivateKey?: readonly string[];
  readonly texts?: readonly string[];
}

/** github.com/lestrrat-go/jwx v1 jwk, `UnmarshalJSON` of each type of key. */
const keyTypes: ReadonlyMap<unknown, KeyType> = new Map<unknown, KeyType>([
  ["RSA", { required: ["e", "n"], ofPrivateKey: ["d", "p", "q", "dp", "dq", "qi"] }],
  ["EC", { required: ["x", "y"], ofPrivateKey: ["d"], texts: ["crv"] }],
  ["OKP", { required: ["x"], ofPrivateKey: ["d"], texts: ["crv"] }],
  ["oct", { required: ["k"] }],
]);

/** jwx reads `x58` where RFC 7517 has `x5u`. */
const textsOfAnyKey = ["kty", "alg", "kid", "use", "x58", "x5t", "x5t#S256"];

/**
 * Why istiod cannot read the `jwks` of a rule for tokens, as the end of a sentence about the text; undefined: it can.
 * It parses them with jwk.Parse of github.com/lestrrat-go/jwx (Istio pkg/config/validation/validation.go validateJwtRule):
 * either a set, which has `keys`, or one key. Certificates in `x5c` are not parsed here. That jwx ignores what follows the
 * first value is no reason to accept it, because it is no JSON for a proxy.
 */
export function jwksProblem(text: string): string | undefined {
  let keys: unknown;
  try {
    keys = JSON.parse(text);
  } catch {
    return "is not written in JSON";
  }
  if (!isObject(keys)) return "is no object in JSON";
  if (!("keys" in keys)) {
    const problem = keyProblem(keys);
    return problem === undefined ? undefined : `has no "keys" and is no key itself, because ${problem}`;
  }
  const { keys: list } = keys;
  if (list === null) return undefined;
  if (!Array.isArray(list)) return 'has "keys" that are no list';
  for (const [i, key] of list.entries()) {
    const problem = isObject(key) ? keyProblem(key) : "it is no object";
    if (problem !== undefined) return `has a key at index ${i} that cannot be read, because ${problem}`;
  }
  return undefined;
}

function keyProblem(key: Fields): string | undefined {
  const type = keyTypes.get(key["kty"]);
  if (type === undefined) {
    const types = [...keyTypes.keys()].join(", ");
    return isSet(key["kty"]) ? `its "kty" is none of ${types}` : `it has no "kty", which is one of ${types}`;
  }
  const { required, texts = [] } = type;
  const missing = [...required, ...texts].find((name) => !(name in key));
  return missing === undefined ? valueProblem(key, type) : `it has no "${missing}"`;
}

function valueProblem(key: Fields, { required, ofPrivateKey = [], texts = [] }: KeyType): string | undefined {
  const bytes = [...required, ...("d" in key ? ofPrivateKey : [])];
  const undecoded = bytes.find((name) => name in key && !isBase64(key[name]));
  if (undecoded !== undefined) return `its "${undecoded}" is not written in base64`;
  const other = [...texts, ...textsOfAnyKey].find((name) => isSet(key[name]) && typeof key[name] !== "string");
  if (other !== undefined) return `its "${other}" is no text`;
  const list = ["key_ops", "x5c"].find((name) => isSet(key[name]) && !isListOfTexts(key[name]));
  return list === undefined ? undefined : `its "${list}" is no list of texts`;
}

/** With the characters of URLs or without them, padded or not, but not both kinds of characters. */
function isBase64(value: unknown): boolean {
  if (value === null) return true;
  if (typeof value !== "string") return false;
  const text = value.replace(/[\r\n]/g, "");
  if (!/^(?:[A-Za-z0-9_-]*|[A-Za-z0-9+/]*)={0,2}$/.test(text)) return false;
  return text.endsWith("=") ? text.length % 4 === 0 : text.length % 4 !== 1;
}

const isListOfTexts = (value: unknown): boolean =>
  Array.isArray(value) && value.every((item) => item === null || typeof item === "string");
