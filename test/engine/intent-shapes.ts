// Worlds with intents.

import type { Raw } from "../bench/mesh.ts";
import { manifest } from "../bench/mesh.ts";
import type { CostShape } from "./cost-shapes.ts";

const at = "shapes";
const list = <T>(count: number, one: (i: number) => T): readonly T[] => Array.from({ length: count }, (_, i) => one(i));
const named = (name: string) => ({ namespace: at, name });
const service = (i: number): Raw =>
  manifest("v1", "Service", named(`s-${i}`), { spec: { selector: { app: `app-${i}` }, ports: [{ port: 80 }] } });
const intent = (name: string, to: object, requests: readonly object[]): Raw =>
  manifest("meshward.io/v1alpha1", "MeshwardIntent", named(name), { spec: { to, requests } });

export const intentShapes: readonly CostShape[] = [
  {
    title: "an intent about a Service that is none of n",
    world: (n) => ({
      objects: list(n, service),
      change: { object: intent("i", { service: "s" }, [{ from: ["mesh"], expect: "allowed" }]) },
    }),
  },
  {
    title: "an intent with n entries",
    world: (n) => ({
      objects: [service(0)],
      change: {
        object: intent(
          "i",
          { service: "s-0" },
          list(n, (i) => ({
            from: ["mesh"],
            paths: list(n, (j) => `/${i}/${j}/*`),
            expect: i % 2 ? "allowed" : "denied",
          })),
        ),
      },
    }),
  },
];
