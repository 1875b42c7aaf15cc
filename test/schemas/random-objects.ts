import fc from "fast-check";
import { publishedKinds } from "../../src/schemas/published.ts";
import type { Schema } from "../../src/schemas/schema.ts";

// Objects of the kinds of Istio and of the Gateway API that their definitions accept about as often as not: the fields are those of
// the schema, and the values are such as its patterns and rules tell apart.

const texts = [
  ...["a", "b", "web", "a.b", "*", "*.example.com", "web.shop.svc.cluster.local", "x".repeat(70), "", "A_b", "a b"],
  ...["/", "/a", "/a//b", "/a/../b", "/a#b", "a/b", "./*", "istio-system/a"],
  ...["10.0.0.1", "10.0.0.0/24", "fd00::1", "unix:///a", "80", "8080", "70000"],
  ...["https://a.example.com/b", "ftp://a/b", "http://%zz", "oci://a/b:c", "5s", "1h30m", "0s", "100us", "5 seconds"],
  ...["GET", "HTTP", "HTTPS", "TLS", "TCP", "STRICT", "Exact", "PathPrefix", "ReplaceFullPath", "ReplacePrefixMatch"],
  ...["Service", "Gateway", "ConfigMap", "gateway.networking.k8s.io", "networking.istio.io"],
];
const text = fc.constantFrom(...texts);
const integer = fc.constantFrom(0, 1, 2, 80, 100, 443, 200, 302, 404, 65_535, 65_536, -1, 1001);
const odd = fc.constantFrom<unknown[]>("x", 1, 1.5, true, [], {}, ["a"], { a: 1 }, null, 2 ** 33);

const scalars = new Map<string, fc.Arbitrary<unknown>>([
  ["string", text],
  ["boolean", fc.boolean()],
  ["integer", integer],
  ["number", fc.constantFrom(0, 0.5, 1, 100)],
  ["object", fc.constantFrom({}, { a: "b" })],
]);

/** One value in a hundred is of any type. */
const valueFor = (schema: Schema, depth: number): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 99, arbitrary: likely(schema, depth) }, { weight: 1, arbitrary: odd });

function likely(schema: Schema, depth: number): fc.Arbitrary<unknown> {
  if (schema["x-kubernetes-int-or-string"] === true) return fc.oneof(integer, text);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  if (schema.pattern !== undefined)
    return fc.oneof(text, fc.constantFrom(...texts.filter((one) => accepts(schema, one))));
  if (schema.items !== undefined)
    return fc.array(valueFor(schema.items, depth + 1), { minLength: Math.min(schema.minItems ?? 0, 1), maxLength: 2 });
  if (schema.properties !== undefined) return objectFor(schema, depth);
  if (typeof schema.additionalProperties === "object")
    return fc.dictionary(fc.constantFrom("a", "80", "b/c"), valueFor(schema.additionalProperties, depth + 1), {
      maxKeys: 2,
    });
  return scalars.get(schema.type ?? "") ?? fc.constantFrom("a", 1, {});
}

/** At least one text that the pattern accepts is tried, if there is one. */
function accepts({ pattern = "" }: Schema, value: string): boolean {
  try {
    return new RegExp(pattern).test(value);
  } catch {
    return true;
  }
}

function objectFor({ properties = {}, required = [] }: Schema, depth: number): fc.Arbitrary<unknown> {
  const names = Object.keys(properties).filter((name) => name !== "status");
  const chosen =
    depth > 9 ? fc.constant([]) : fc.subarray(names, { maxLength: Math.min(depth < 2 ? 3 : 2, names.length) });
  return chosen.chain((more) => {
    const all = new Set([...more, ...required, ...(depth === 0 ? ["spec"] : [])]);
    return fc.record(Object.fromEntries([...all].map((name) => [name, valueFor(properties[name] ?? {}, depth + 1)])));
  });
}

export interface RandomObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: object;
  readonly [field: string]: unknown;
}

/** So many objects of each version of each kind. */
export function randomObjects(perKind: number, seed: number): readonly RandomObject[] {
  return publishedKinds.flatMap(({ group, kind, versions }) =>
    [...versions].flatMap(([version, schema]) =>
      fc.sample(objectFor(schema() ?? {}, 0), { numRuns: perKind, seed }).map((value) => ({
        ...(value as object),
        apiVersion: `${group}/${version}`,
        kind,
        metadata: { name: "a", namespace: "shop" },
      })),
    ),
  );
}
