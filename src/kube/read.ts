/** The path of a value in the raw object: `["spec", "http", 0, "route"]`. */
export type Path = readonly (string | number)[];

/** A value of the wrong type that a reader found. `at` is relative to the value that was read. */
export interface Malformed {
  readonly at: (string | number)[];
  readonly expected: string;
  readonly found: string;
}

/**
 * Reads a value of a known type from arbitrary JSON. A reader never throws; a value of the wrong type is reported and
 * read as absent.
 */
export type Read<T> = (raw: unknown, malformed: Malformed[]) => T;
export type Value<R> = R extends Read<infer T> ? T : never;

/** The most problems that are reported for one object; a hostile object may contain millions. */
const maxMalformed = 50;

function report(malformed: Malformed[], expected: string, raw: unknown): void {
  if (malformed.length < maxMalformed) malformed.push({ at: [], expected, found: describe(raw) });
}

/** Describes a value in a few characters, for messages: `"90"`, `a list`, `an object`, `4294967296`. */
export function describe(raw: unknown): string {
  if (typeof raw === "string") return JSON.stringify(raw.length > 40 ? `${raw.slice(0, 40)}…` : raw);
  if (Array.isArray(raw)) return "a list";
  if (typeof raw === "number" || typeof raw === "boolean") return String(raw);
  return raw === null ? "null" : "an object";
}

function scalar<T>(expected: string, is: (raw: unknown) => raw is T): Read<T | undefined> {
  return (raw, malformed) => {
    if (raw === undefined || raw === null) return undefined;
    if (is(raw)) return raw;
    report(malformed, expected, raw);
    return undefined;
  };
}

export const text = scalar("a string", (raw) => typeof raw === "string");
/** What a field with a duration must be, for messages. */
export const durationNamed = 'a duration, which is a string such as "10s"';
/** A duration as text: it is not checked. */
export const duration = scalar(durationNamed, (raw) => typeof raw === "string");
export const flag = scalar("a boolean", (raw) => typeof raw === "boolean");
export const number = scalar("a number", (raw): raw is number => typeof raw === "number" && Number.isFinite(raw));
/** Weights and counts are int32 in the CRDs: `100.0` is one in JSON, `33.5` and `2147483648` are not. */
export const int32 = scalar(
  "a 32-bit integer",
  (raw): raw is number => typeof raw === "number" && Number.isInteger(raw) && raw >= -(2 ** 31) && raw < 2 ** 31,
);
/**
 * Ports and some counts of Istio are uint32, so the API server stores numbers that are no port, and istiod's webhook refuses them with
 * its own reason. Negative ones are below the minimum in the CRDs, which `schemas/` compares.
 */
export const uint32 = scalar(
  "a 32-bit integer",
  (raw): raw is number => typeof raw === "number" && Number.isInteger(raw) && raw >= -(2 ** 31) && raw < 2 ** 32,
);
export const intOrText = scalar(
  "an integer or a string",
  (raw): raw is number | string => typeof raw === "string" || Number.isSafeInteger(raw),
);

/**
 * An enum of a configuration that istiod reads from YAML, which may have the number of a value instead of its name (Istio
 * pkg/util/protomarshal ApplyYAML).
 */
export const enumeration =
  (names: Readonly<Record<number, string>>): Read<string | undefined> =>
  (raw, malformed) => {
    // The parser of Go reads an octal number of YAML 1.2 too.
    const number = typeof raw === "string" && /^0o[0-7]+$/.test(raw) ? Number(raw) : raw;
    if (!Number.isInteger(number)) return text(raw, malformed);
    // A number without a name is some other value.
    return names[number as number] ?? String(number);
  };

/** Always a string: absent is read as empty. */
export const name: Read<string> = (raw, malformed) => text(raw, malformed) ?? "";

/** Reads any value as a string that is equal for equal values, to detect changes. Absent is read as empty. */
export const fingerprint: Read<string> = (raw) => {
  try {
    return raw === undefined || raw === null ? "" : JSON.stringify(raw);
  } catch {
    // The value is nested too deeply for JSON.stringify; all such values are treated as equal.
    return "too deep";
  }
};

function under<T>(key: string | number, read: Read<T>, raw: unknown, malformed: Malformed[]): T {
  const start = malformed.length;
  const value = read(raw, malformed);
  for (let i = start; i < malformed.length; i++) malformed[i]?.at.unshift(key);
  return value;
}

export const isObject = (raw: unknown): raw is Record<string, unknown> =>
  typeof raw === "object" && raw !== null && !Array.isArray(raw);

/** An own member of a raw object; undefined for any other value. */
export const member = (raw: unknown, key: string): unknown =>
  isObject(raw) && Object.hasOwn(raw, key) ? raw[key] : undefined;

/** Always an object: absent is read as empty. Fields outside the shape are not kept. */
export function record<S extends Record<string, Read<unknown>>>(
  shape: S,
): Read<{ readonly [K in keyof S]: Value<S[K]> }> {
  const fields = Object.keys(shape);
  const reads = Object.values(shape);
  // One shared value for all absent objects, because a hostile list may contain millions.
  const blank = blankOf(fields, reads);
  const readFields = (from: Record<string, unknown>, malformed: Malformed[]) => {
    const value: Record<string, unknown> = { ...blank };
    for (let i = 0; i < fields.length; i++) {
      const field = fields[i] as string;
      // Most fields are absent; the blank has their values.
      if (!Object.hasOwn(from, field)) continue;
      value[field] = under(field, reads[i] as Read<unknown>, from[field], malformed);
    }
    return value;
  };
  return (raw, malformed) => {
    if (isObject(raw)) return readFields(raw, malformed) as never;
    if (raw !== undefined && raw !== null) report(malformed, "an object", raw);
    return blank as never;
  };
}

/**
 * The value of an absent object, which readers also copy to start from. JSON.parse creates objects without spare room for
 * more fields, and so are their copies; an object that grows field by field takes a quarter more memory.
 */
function blankOf(fields: readonly string[], reads: readonly Read<unknown>[]): Readonly<Record<string, unknown>> {
  const room = Object.fromEntries(fields.map((field) => [field, null]));
  const blank = JSON.parse(JSON.stringify(room)) as Record<string, unknown>;
  for (const [i, read] of reads.entries()) blank[fields[i] as string] = read(undefined, []);
  return Object.freeze(blank);
}

export const optional =
  <T>(read: Read<T>): Read<T | undefined> =>
  (raw, malformed) =>
    raw === undefined || raw === null ? undefined : read(raw, malformed);

const noItems: readonly never[] = Object.freeze([]);

/** Always an array: absent is read as empty. */
export const list =
  <T>(read: Read<T>): Read<readonly T[]> =>
  (raw, malformed) => {
    if (raw === undefined || raw === null) return noItems;
    if (!Array.isArray(raw)) {
      report(malformed, "a list", raw);
      return noItems;
    }
    if (raw.length === 0) return noItems;
    // oxlint-disable-next-line unicorn/no-new-array -- a list that grows keeps spare room for up to sixteen items
    const items = new Array<T>(raw.length);
    for (let i = 0; i < raw.length; i++) items[i] = under(i, read, raw[i], malformed);
    return items;
  };

const noEntries = Object.freeze({});

/** Always a map: absent is read as empty. Entries without a value are not kept. */
export const map =
  <T>(read: Read<T>): Read<Readonly<Record<string, NonNullable<T>>>> =>
  (raw, malformed) => {
    if (raw === undefined || raw === null) return noEntries;
    if (!isObject(raw)) {
      report(malformed, "a map", raw);
      return noEntries;
    }
    const entries: [string, NonNullable<T>][] = [];
    for (const key of Object.keys(raw)) {
      const item = under(key, read, raw[key], malformed);
      if (item !== undefined && item !== null) entries.push([key, item]);
    }
    // fromEntries defines own properties, so that a key named __proto__ stays data.
    return entries.length === 0 ? noEntries : Object.fromEntries(entries);
  };

/**
 * A map by the numbers of ports. The API server accepts whatever the CEL function `int` reads, such as `+8080`, but istiod cannot
 * read an object with a key that is no number in JSON (istio.io/api security/v1beta1 UnmarshalJSON).
 */
export const mapByPort = <T>(read: Read<T>): Read<Readonly<Record<string, NonNullable<T>>>> => {
  const readMap = map(read);
  return (raw, malformed) => {
    const keys = isObject(raw) ? Object.keys(raw) : [];
    for (const key of keys) if (!/^(?:0|[1-9]\d*)$/.test(key)) under(key, misnamed, key, malformed);
    return readMap(raw, malformed);
  };
};
const misnamed: Read<void> = (key, malformed) =>
  report(malformed, "named after a port, as a number without a sign or leading zeros", key);

/**
 * An object in which some fields may also have the names of their protobuf definition. The API server drops such names unless
 * the definition of the kind lists them; istiod reads both.
 */
export const withProtobufNames =
  <T>(jsonNames: Readonly<Record<string, string>>, read: Read<T>): Read<T> =>
  (raw, malformed) => {
    if (!isObject(raw)) return read(raw, malformed);
    let named = raw;
    for (const [protobufName, jsonName] of Object.entries(jsonNames))
      if (Object.hasOwn(raw, protobufName) && !Object.hasOwn(raw, jsonName))
        named = { ...named, [jsonName]: raw[protobufName] };
    return read(named, malformed);
  };

/** The value in a raw object at a path, or at the last part of it that exists. */
export function valueAt(raw: unknown, at: Path): unknown {
  let value = raw;
  for (const step of at) {
    const next: unknown = Array.isArray(value) ? value[Number(step)] : isObject(value) ? value[step] : undefined;
    if (next === undefined) return value;
    value = next;
  }
  return value;
}

/** Whether one of two places is the other, or within it. */
export const isSameBranch = (one: Path, other: Path): boolean => {
  const common = Math.min(one.length, other.length);
  return one.slice(0, common).every((step, i) => step === other[i]);
};
