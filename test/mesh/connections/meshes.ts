import fc from "fast-check";
import { type AnyObject, readAny } from "../../../src/kube/object.ts";
import { meshSettingsOf } from "../../../src/view/settings.ts";
import { sideOf } from "../../../src/view/side.ts";
import { MeshStore } from "../../../src/view/store.ts";
import type { Mesh } from "../../../src/view/view.ts";
import { rawRules } from "../authorization/requests/arbitrary.ts";

// Small meshes in which policies, modes and routes of all kinds meet at the Services x and y of namespace a.

type Raw = Readonly<Record<string, unknown>>;
const object = (apiVersion: string, kind: string, [namespace, name]: readonly [string, string], rest: Raw): Raw => ({
  ...{ apiVersion, kind },
  metadata: { namespace, name },
  ...rest,
});
const namespace = (name: string, labels: Raw): Raw => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name, labels },
});
const deployment = (at: readonly [string, string], account: string, labels: Raw): Raw =>
  object("apps/v1", "Deployment", at, {
    spec: {
      template: {
        metadata: { labels },
        spec: { serviceAccountName: account, containers: [{ name: "main", ports: [{ containerPort: 8080 }] }] },
      },
    },
  });
const service = (name: string): Raw =>
  object("v1", "Service", ["a", name], {
    spec: { selector: { app: name }, ports: [{ name: "http", port: 80, targetPort: 8080 }] },
  });

/** What is always there: servers in `a`, clients in `b` (sidecars), `web` (ambient) and `out` (not in the mesh). */
export const base: readonly Raw[] = [
  namespace("istio-system", {}),
  namespace("a", { "istio-injection": "enabled" }),
  namespace("b", { "istio-injection": "enabled" }),
  namespace("web", { "istio.io/dataplane-mode": "ambient" }),
  namespace("out", {}),
  deployment(["a", "x-v1"], "a", { app: "x", version: "v1" }),
  deployment(["a", "x-v2"], "b", { app: "x", version: "v2" }),
  deployment(["a", "y"], "b", { app: "y" }),
  deployment(["b", "client"], "a", { app: "client" }),
  deployment(["b", "other"], "b", { app: "other" }),
  deployment(["web", "shop"], "web", { app: "shop" }),
  deployment(["out", "cron"], "default", { app: "cron" }),
  service("x"),
  service("y"),
];

export const policies: fc.Arbitrary<Raw> = fc
  .record({
    namespace: fc.constantFrom("a", "a", "a", "istio-system"),
    name: fc.constantFrom("p", "q", "r"),
    action: fc.constantFrom("ALLOW", "ALLOW", "DENY"),
    selector: fc.constantFrom(undefined, { matchLabels: { app: "x" } }, { matchLabels: { version: "v1" } }),
    rules: fc.array(rawRules, { maxLength: 2 }),
  })
  .map(({ namespace: at, name, ...spec }) =>
    object("security.istio.io/v1", "AuthorizationPolicy", [at, name], { spec }),
  );

const others: fc.Arbitrary<Raw> = fc.oneof(
  fc
    .tuple(fc.constantFrom("a", "istio-system"), fc.constantFrom("STRICT", "PERMISSIVE", "DISABLE"))
    .map(([at, mode]) =>
      object("security.istio.io/v1", "PeerAuthentication", [at, "default"], { spec: { mtls: { mode } } }),
    ),
  fc.tuple(fc.constantFrom("a", "b"), fc.constantFrom("DISABLE", "ISTIO_MUTUAL", undefined)).map(([at, mode]) =>
    object("networking.istio.io/v1", "DestinationRule", [at, "x"], {
      spec: {
        host: "x.a.svc.cluster.local",
        ...(mode === undefined ? {} : { trafficPolicy: { tls: { mode } } }),
        subsets: [
          { name: "v1", labels: { version: "v1" } },
          { name: "v2", labels: { version: "v2" } },
        ],
      },
    }),
  ),
  fc.tuple(fc.constantFrom(0, 50, 90, 100), fc.constantFrom(undefined, "/a")).map(([weight, prefix]) =>
    object("networking.istio.io/v1", "VirtualService", ["a", "x"], {
      spec: {
        hosts: ["x"],
        http: [
          {
            ...(prefix === undefined ? {} : { match: [{ uri: { prefix } }] }),
            route: [
              { destination: { host: "x", subset: "v1" }, weight },
              { destination: { host: "x", subset: "v2" }, weight: 100 - weight },
            ],
          },
          { route: [{ destination: { host: "x" } }] },
        ],
      },
    }),
  ),
);

/** What one side of a change has beside the base; of objects with one name, the first. */
export const additions: fc.Arbitrary<readonly Raw[]> = fc
  .tuple(fc.array(policies, { maxLength: 3 }), fc.array(others, { maxLength: 3 }))
  .map(([some, more]) => [...new Map([...some, ...more].reverse().map((one) => [idOf(one), one])).values()]);

const idOf = ({ kind, metadata }: Raw): string => JSON.stringify([kind, metadata]);

export function meshOf(raws: readonly Raw[]): Mesh {
  const objects = raws.flatMap((raw): readonly AnyObject[] => {
    const found = readAny(raw, "default");
    return found === undefined ? [] : [found];
  });
  const mesh = new MeshStore(meshSettingsOf(objects));
  for (const one of objects) mesh.set(one);
  return sideOf(mesh);
}
