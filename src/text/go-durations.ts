const units: ReadonlyMap<string, bigint> = new Map([
  ["h", 3_600_000_000_000n],
  ["m", 60_000_000_000n],
  ["s", 1_000_000_000n],
  ["ms", 1_000_000n],
  ["us", 1_000n],
  // Both the micro sign and the Greek letter.
  ["\u00b5s", 1_000n],
  ["\u03bcs", 1_000n],
  ["ns", 1n],
]);

// Digits match in one way only, so that a long text without a unit takes linear time.
const form = /^[+-]?(?:0|(?:(?:\d+(?:\.\d*)?|\.\d+)(?:h|ms|m|s|us|\u00b5s|\u03bcs|ns))+)$/;
const part = /(\d*)\.?(\d*)(h|ms|m|s|us|\u00b5s|\u03bcs|ns)/g;

/** How far below 0 a duration can be; above 0 it is one nanosecond less (int64). */
const farthest = 2n ** 63n;

/** The nanoseconds in a text that is a duration for Go (time.ParseDuration), 0 and negative ones too; undefined: it is none. */
export function nanosecondsOf(text: string): bigint | undefined {
  const sum = form.test(text) ? sumOf(text) : undefined;
  if (sum === undefined || text.startsWith("-")) return sum === undefined ? undefined : -sum;
  return sum === farthest ? undefined : sum;
}

function sumOf(text: string): bigint | undefined {
  let sum = 0n;
  for (const [, whole = "", fraction = "", unit = ""] of text.matchAll(part)) {
    const nanoseconds = inUnit(whole, fraction, units.get(unit) ?? 0n);
    sum += nanoseconds ?? farthest + 1n;
    if (sum > farthest) return undefined;
  }
  return sum;
}

/** undefined: it is too long. What is less than a nanosecond is cut off. */
function inUnit(whole: string, fraction: string, unit: bigint): bigint | undefined {
  const digits = whole.replace(/^0+/, "");
  if (digits.length > mostDigits) return undefined;
  return BigInt(digits) * unit + (fraction === "" ? 0n : partOf(fraction, unit));
}

/** The digits of 2^63; what follows them in a fraction does not count. */
const mostDigits = 19;

/** Go multiplies fractions as floating-point numbers, too. */
function partOf(fraction: string, unit: bigint): bigint {
  const digits = fraction.slice(0, mostDigits - 1);
  return BigInt(Math.trunc(Number(digits) * (Number(unit) / 10 ** digits.length)));
}
