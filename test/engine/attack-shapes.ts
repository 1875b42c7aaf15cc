// What somebody writes to make a rule compare everything with everything, at any size.

import { manifest, type Raw } from "../bench/mesh.ts";
import { type CostShape, list, named, namespace, policy, workload } from "./cost-shapes.ts";

const closed = policy("closed", {});
const owned = (i: number, owner: number): Raw => {
  const deployment = workload(i);
  const by = { apiVersion: "apps/v1", kind: "Deployment", name: `w-${owner}`, uid: `uid-${owner}`, controller: true };
  return { ...deployment, metadata: { ...deployment.metadata, uid: `uid-${i}`, ownerReferences: [by] } };
};
const waypoint = (i: number) =>
  manifest("gateway.networking.k8s.io/v1", "Gateway", named(`waypoint-${i}`), {
    spec: { gatewayClassName: "istio-waypoint", listeners: [{ name: "mesh", port: 15008, protocol: "HBONE" }] },
  });
const behind = (i: number, of: number) =>
  manifest("v1", "Service", named(`s-${i}`, { "istio.io/use-waypoint": `waypoint-${of}` }), {
    spec: { selector: { app: `app-${i}` }, ports: [{ port: 80 }] },
  });

export const attackShapes: readonly CostShape[] = [
  {
    title: "a policy of n rules with n sources each, beside a default deny",
    n: 12,
    most: 4.4,
    world: (n) => ({
      objects: [namespace({ "meshward.io/protected": "true" }), closed, ...list(n, (i) => workload(i))],
      change: {
        object: policy("p", {
          rules: list(n, (i) => ({ from: list(n, (j) => ({ source: { principals: [`td/ns/a/sa/${i}-${j}`] } })) })),
        }),
      },
    }),
  },
  {
    title: "n rules whose paths are templates, prefixes, suffixes and exclusions",
    world: (n) => ({
      objects: [namespace({ "meshward.io/protected": "true" }), closed, ...list(n, (i) => workload(i))],
      change: {
        object: policy("p", {
          rules: list(n, (i) => ({
            to: [{ operation: { paths: [`/{*}/${i}/{**}`, `/${i}/*`, `*/${i}`], notPaths: [`/no-${i}/{*}`] } }],
          })),
        }),
      },
    }),
  },
  {
    title: "n rules whose paths are templates change, in ambient mode",
    world: (n) => {
      const rules = (prefix: string) =>
        list(n, (i) => ({ to: [{ operation: { paths: [`/{*}/${prefix}-${i}/{**}`] } }] }));
      const old = policy("p", { rules: rules("a") });
      return {
        objects: [namespace({ "istio.io/dataplane-mode": "ambient" }), closed, ...list(n, (i) => workload(i)), old],
        change: { old, object: policy("p", { rules: rules("b") }) },
      };
    },
  },
  {
    title: "n Deployments that own one another in a circle; the default deny goes",
    world: (n) => ({
      objects: [
        namespace({ "meshward.io/protected": "true", "istio-injection": "enabled" }),
        ...list(n, (i) => owned(i, (i + 1) % n)),
        closed,
      ],
      change: { old: closed },
    }),
  },
  {
    title: "one Deployment of n that own one another in a circle leaves the mesh",
    world: (n) => {
      const old = owned(0, 1);
      const out = { template: { metadata: { labels: { "sidecar.istio.io/inject": "false" } }, spec: {} } };
      return {
        objects: [
          namespace({ "meshward.io/protected": "true", "istio-injection": "enabled" }),
          ...list(n, (i) => owned(i, (i + 1) % n)),
        ],
        change: { old, object: { ...old, spec: out } },
      };
    },
  },
  {
    title: "n waypoints with a Service, a workload and a policy each; the namespace takes one of them",
    world: (n) => {
      const old = namespace({ "istio.io/dataplane-mode": "ambient", "meshward.io/protected": "true" });
      const labels = { ...(old.metadata["labels"] as object), "istio.io/use-waypoint": "waypoint-0" };
      return {
        objects: [
          old,
          ...list(n, waypoint),
          ...list(n, (i) => behind(i, i)),
          ...list(n, workload),
          ...list(n, (i) =>
            policy(`p-${i}`, {
              targetRefs: [{ group: "gateway.networking.k8s.io", kind: "Gateway", name: `waypoint-${i}` }],
            }),
          ),
        ],
        change: { old, object: { ...old, metadata: { ...old.metadata, labels } } },
      };
    },
  },
  {
    title: "n Services of n waypoints; one Service moves to another",
    world: (n) => ({
      objects: [
        namespace({ "istio.io/dataplane-mode": "ambient", "meshward.io/protected": "true" }),
        ...list(n, waypoint),
        ...list(n, (i) => behind(i, i)),
        ...list(n, workload),
        ...list(n, (i) => policy(`p-${i}`, { targetRefs: [{ kind: "Service", name: `s-${i}` }] })),
      ],
      change: { old: behind(0, 0), object: behind(0, 1) },
    }),
  },
];
