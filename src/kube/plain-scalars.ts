export type ScalarValue = string | number | boolean | null;

const words = new Map<string, boolean | number | null>();
for (const word of ["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"]) words.set(word, true);
for (const word of ["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"]) words.set(word, false);
for (const word of ["", "~", "null", "Null", "NULL"]) words.set(word, null);
for (const word of [".nan", ".NaN", ".NAN"]) words.set(word, Number.NaN);
for (const word of [".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"]) words.set(word, Number.POSITIVE_INFINITY);
for (const word of ["-.inf", "-.Inf", "-.INF"]) words.set(word, Number.NEGATIVE_INFINITY);

const integer = /^([-+]?)(0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+|[1-9][0-9]*|0)$/;
const float = /^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$/;
const minInt64 = -(2n ** 63n);
const maxInt64 = 2n ** 63n - 1n;
const maxUint64 = 2n ** 64n - 1n;

/**
 * The value of a plain (unquoted) scalar as kubectl reads it: YAML 1.1 booleans (`yes`, `off`, `y`), octal `0777`,
 * `1_000`, but no base 60. Mirrors `resolve` in go.yaml.in/yaml/v2 resolve.go, which sigs.k8s.io/yaml uses.
 * Timestamps stay strings, as in that package.
 */
export function resolvePlain(text: string): ScalarValue {
  const word = words.get(text);
  if (word !== undefined) return word;
  const first = text.charCodeAt(0);
  // Behind a point, Go's ParseFloat takes underscores only between digits.
  if (first === 0x2e) return finite(text.replaceAll(/(?<=\d)_(?=\d)/g, "")) ?? text;
  const startsNumber = (first >= 0x30 && first <= 0x39) || first === 0x2b || first === 0x2d;
  if (!startsNumber) return text;
  const plain = text.replaceAll("_", "");
  return wholeNumber(plain) ?? finite(plain) ?? text;
}

function wholeNumber(text: string): number | undefined {
  const match = integer.exec(text);
  if (match === null) return undefined;
  const [, sign = "", digits = ""] = match;
  const octal = /^0[0-7]+$/.test(digits) ? `0o${digits.slice(1)}` : digits;
  const magnitude = BigInt(octal);
  const value = sign === "-" ? -magnitude : magnitude;
  const fits = value >= minInt64 && value <= (sign === "" ? maxUint64 : maxInt64);
  return fits ? Number(value) : undefined;
}

function finite(text: string): number | undefined {
  if (!float.test(text)) return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? value : undefined;
}

const core = "tag:yaml.org,2002:";

/**
 * The value of a scalar with an explicit tag. `!!int "5"` is the number 5; with a tag that kubectl does not know, the
 * value is a string. `undefined` if the text is not a valid value for the tag.
 */
export function resolveTagged(tag: string, text: string): ScalarValue | undefined {
  const read = tag.startsWith(core) ? tagged.get(tag.slice(core.length)) : undefined;
  return read === undefined ? text : read(text);
}

const tagged = new Map<string, (text: string) => ScalarValue | undefined>([
  ["binary", (text) => fromBase64(text.replaceAll(/[\r\n]/g, ""))],
  ["bool", (text) => only("boolean", resolvePlain(text))],
  ["float", (text) => only("number", resolvePlain(text))],
  ["int", (text) => wholeNumber(text.replaceAll("_", ""))],
  ["null", (text) => (resolvePlain(text) === null ? null : undefined)],
]);

function fromBase64(text: string): string | undefined {
  const isBase64 = text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);
  return isBase64 ? Buffer.from(text, "base64").toString() : undefined;
}

function only(type: "boolean" | "number", value: ScalarValue): ScalarValue | undefined {
  return typeof value === type ? value : undefined;
}
