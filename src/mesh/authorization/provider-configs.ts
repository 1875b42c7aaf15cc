import { index, relation } from "../../view/view.ts";
import { isServed } from "../objects/revision.ts";
import { actionOf } from "./policies.ts";

const everyMesh = "mesh";

/** A policy that asks a provider, and every mesh config. */
export const meshConfigsOfProvider = relation(
  "meshConfigsOfProvider",
  index("AuthorizationPolicy", (policy, settings) =>
    actionOf(policy) === "CUSTOM" && isServed(policy, settings) ? [everyMesh] : [],
  ),
  index("MeshConfig", () => [everyMesh]),
);
