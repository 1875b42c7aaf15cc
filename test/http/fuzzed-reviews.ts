import assert from "node:assert/strict";
import { review, type Raw } from "../admission/requests.ts";

// Reviews with anything in them, from a seed. What must hold for every answer is at the end.

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const security = "security.istio.io/v1";
const namespace: Raw = {
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name: "payments", labels: { "meshward.io/protected": "true", "istio.io/dataplane-mode": "ambient" } },
};
const deployment = (labels: Raw = {}): Raw => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "api", namespace: "payments" },
  spec: { template: { metadata: { labels: { app: "api", ...labels } }, spec: { containers: [{ name: "api" }] } } },
});
const strict = (mode: string): Raw => ({
  apiVersion: security,
  kind: "PeerAuthentication",
  metadata: { name: "strict", namespace: "payments" },
  spec: { mtls: { mode } },
});
const denyAll = (spec: Raw): Raw => ({
  apiVersion: security,
  kind: "AuthorizationPolicy",
  metadata: { name: "deny-all", namespace: "payments" },
  spec,
});
const split = (...weights: readonly number[]): Raw => ({
  apiVersion: "networking.istio.io/v1",
  kind: "VirtualService",
  metadata: { name: "api", namespace: "payments" },
  spec: {
    hosts: ["api"],
    http: [{ route: weights.map((weight, i) => ({ destination: { host: "api", subset: `v${i}` }, weight })) }],
  },
});

/** The mesh in which the reviews are evaluated. */
export const stored: readonly Raw[] = [namespace, deployment(), strict("STRICT"), denyAll({})];

/** Changes that are denied, whatever else they contain. */
export const denied: Readonly<Record<string, Raw>> = {
  "STRICT goes": review({ oldObject: strict("STRICT") }),
  "STRICT is weakened": review({ oldObject: strict("STRICT"), object: strict("PERMISSIVE") }),
  "the default deny goes": review({ oldObject: denyAll({}) }),
  "the default deny allows everyone": review({ oldObject: denyAll({}), object: denyAll({ rules: [{}] }) }),
  "a workload leaves the mesh": review({
    oldObject: deployment(),
    object: deployment({ "istio.io/dataplane-mode": "none" }),
  }),
  "a namespace is no longer protected": review({
    oldObject: namespace,
    object: { ...namespace, metadata: { name: "payments", labels: { "istio.io/dataplane-mode": "ambient" } } },
  }),
  "weights of 110": review({ object: split(90, 20) }),
};

export interface Fuzzed {
  readonly seed: string;
  readonly body: string | Buffer;
  /** The change is still what the seed was, so that it must be denied. */
  readonly isDenied: boolean;
  /** undefined: it is not to be expected that one can be read */
  readonly uid: string | undefined;
}

const strings = [
  ...[
    "",
    "a",
    "payments",
    "__proto__",
    "constructor",
    "toString",
    "STRICT",
    "*",
    "null",
    "0",
    "-1",
    "true",
    "../..",
    "${x}",
  ],
  ...[
    "\u0000",
    "\u001b[2J",
    "\r\nWarning: x",
    "\u2028",
    "\u2029",
    "\u0085",
    "\u202e",
    "\ud800",
    "\udfff",
    "é",
    "💥",
    "\ufeff",
  ],
  ...["x".repeat(300), "a.".repeat(200), "*".repeat(100), "%00", "<script>", "&&&&", '"', "\\", "{{ .x }}", "1e400"],
];
const numbers = [0, -0, 1, -1, 0.1, 1e21, 9_007_199_254_740_991, -2_147_483_649, 65_536];
const words = [
  "spec",
  "metadata",
  "rules",
  "mtls",
  "selector",
  "hosts",
  "http",
  "route",
  "labels",
  "name",
  "from",
  "to",
];

export class Fuzzer {
  readonly #random: () => number;
  readonly #seeds = Object.keys(denied);

  constructor(seed: number) {
    this.#random = randomFrom(seed);
  }

  next(): Fuzzed {
    const seed = this.#pick(this.#seeds);
    const text = JSON.stringify(denied[seed]);
    const review = JSON.parse(text) as Record<string, unknown>;
    const kind = this.#random();
    if (kind < 0.4) return this.#withAdditions(seed, review);
    if (kind < 0.9) return this.#changed(seed, review);
    return { seed, body: this.#damaged(text), isDenied: false, uid: undefined };
  }

  /** Adds what no rule reads, everywhere where it can be. */
  #withAdditions(seed: string, review: Record<string, unknown>): Fuzzed {
    const request = review["request"] as Record<string, unknown>;
    const uid = `u-${Math.floor(this.#random() * 1e9)}`;
    request["uid"] = uid;
    request["dryRun"] = this.#random() < 0.5;
    const fields = [review, request, request["userInfo"], request["options"]] as Record<string, unknown>[];
    for (const some of fields) this.#add(some, "fuzz");
    for (const object of [request["object"], request["oldObject"]] as (Record<string, unknown> | null | undefined)[])
      if (object !== null && object !== undefined) this.#enrich(object);
    const body = JSON.stringify(review, undefined, this.#random() < 0.1 ? 3 : 0);
    return { seed, body: this.#withOddKeys(body), isDenied: true, uid };
  }

  #enrich(object: Record<string, unknown>): void {
    const metadata = object["metadata"] as Record<string, unknown>;
    this.#add(object, "fuzz");
    this.#add(metadata, "fuzz");
    if (this.#random() < 0.5) metadata["annotations"] = { [`example.com/${this.#word()}`]: this.#pick(strings) };
    if (this.#random() < 0.5) metadata["managedFields"] = [this.#value(3)];
    if (this.#random() < 0.3) metadata["resourceVersion"] = "7";
    if (this.#random() < 0.3) object["status"] = { fuzz: this.#value(3) };
  }

  #add(fields: Record<string, unknown>, prefix: string): void {
    if (this.#random() < 0.5) fields[`${prefix}${this.#word()}`] = this.#value(3);
  }

  /** Keys that JavaScript treats specially can be written only as text. */
  #withOddKeys(body: string): string {
    if (this.#random() < 0.5) return body;
    const odd = '"__proto__":{"polluted":true,"allowed":true},"constructor":{"prototype":{"polluted":true}},';
    return body.replace('"metadata":{"name"', `"metadata":{${odd}"name"`);
  }

  /** Replaces, removes or adds values anywhere in the review. */
  #changed(seed: string, review: Record<string, unknown>): Fuzzed {
    const changes = 1 + Math.floor(this.#random() * 4);
    for (let change = 0; change < changes; change++) this.#changeOne(review);
    const request = review["request"];
    const uid = typeof request === "object" && request !== null && "uid" in request ? request.uid : undefined;
    const isRead = typeof uid === "string" && uid !== "";
    return { seed, body: JSON.stringify(review), isDenied: false, uid: isRead ? asParsed(uid) : undefined };
  }

  #changeOne(review: Record<string, unknown>): void {
    let at = this.#startOf(review);
    for (;;) {
      const keys: readonly string[] = Object.keys(at);
      const key = this.#pick(keys.length > 0 ? keys : ["x"]);
      const next: unknown = Reflect.get(at, key);
      if (typeof next === "object" && next !== null && this.#random() < 0.85) {
        at = next as Record<string, unknown>;
        continue;
      }
      const what = this.#random();
      if (what < 0.2) Reflect.deleteProperty(at, key);
      else if (what < 0.8) Reflect.set(at, key, this.#value(4));
      else Object.defineProperty(at, this.#word(), { value: this.#value(4), enumerable: true, configurable: true });
      return;
    }
  }

  /** The rest of a review has few fields, and most changes of them make it one that cannot be read. */
  #startOf(review: Record<string, unknown>): Record<string, unknown> {
    const request = Object(review["request"]) as Record<string, unknown>;
    const object = this.#pick([request["object"], request["oldObject"]]);
    const isOfObject = typeof object === "object" && object !== null && this.#random() < 0.8;
    return (isOfObject ? object : review) as Record<string, unknown>;
  }

  #damaged(text: string): string | Buffer {
    const at = Math.floor(this.#random() * text.length);
    const kind = this.#random();
    if (kind < 0.3) return text.slice(0, at);
    if (kind < 0.6) return text.slice(0, at) + this.#pick(strings) + text.slice(at);
    const bytes = Buffer.from(text);
    bytes[at] = Math.floor(this.#random() * 256);
    return bytes;
  }

  #value(depth: number): unknown {
    const kind = this.#random();
    if (depth === 0 || kind < 0.35) return this.#pick(strings);
    if (kind < 0.5) return this.#pick(numbers);
    if (kind < 0.6) return this.#pick([null, true, false]);
    const length = Math.floor(this.#random() * 4);
    const values = Array.from({ length }, () => this.#value(depth - 1));
    return kind < 0.8 ? values : Object.fromEntries(values.map((value) => [this.#word(), value]));
  }

  #word = (): string => this.#pick(this.#random() < 0.7 ? words : strings);

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#random() * from.length)] as T;
  }
}

/** A text after it went through UTF-8, which has no lone surrogates; JSON.stringify escapes them. */
const asParsed = (text: string): string => JSON.parse(JSON.stringify(text)) as string;

// C0 and C1 controls, line and paragraph separators, and marks that change the direction of text.
const control = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;

/** Throws unless an answer is one that the API server accepts and a terminal can show, and denies what must be denied. */
export function checkAnswer({ seed, body, isDenied, uid }: Fuzzed, status: number, text: string): void {
  const said = `${seed}: ${body.toString().slice(0, 3_000)}\n${status} ${text}`;
  assert.ok(status === 200 || status === 400, said);
  const { response } = JSON.parse(text) as { response: Record<string, unknown> };
  if (status === 400) assert.deepEqual([response["uid"], response["allowed"]], ["", false], said);
  if (uid !== undefined) assert.deepEqual([status, response["uid"]], [200, uid], said);
  if (isDenied) assert.equal(response["allowed"], false, said);
  if (response["allowed"] === false) {
    const denial = response["status"] as { code: number; message: string };
    assert.equal(denial.code, 403, said);
    assert.ok(denial.message.length > 0 && denial.message.split("\n").every((line) => !control.test(line)), said);
  }
  const warnings = (response["warnings"] ?? []) as readonly string[];
  const annotations = Object.values((response["auditAnnotations"] ?? {}) as Record<string, string>);
  for (const line of [...warnings, ...annotations]) assert.ok(!control.test(line), said);
  assert.deepEqual(Object.keys(Object.prototype), [], said);
  assert.equal(Reflect.get({}, "polluted"), undefined, said);
}
