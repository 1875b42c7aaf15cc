import { everyRequest } from "../authorization/requests/boxes.ts";
import type { Mesh } from "../../view/view.ts";
import type { Caller } from "../requests/question.ts";
import { outcomesOf } from "../requests/outcomes.ts";
import { Access } from "./access.ts";
import type { SharedLists } from "./callers.ts";
import type { ReachablePort } from "./targets.ts";

/** Everybody: with a certificate of the mesh, and without one. */
const everybody: readonly Caller[] = [{ kind: "mesh" }, { kind: "outside" }];

/** Who can send what to a port; undefined: a port that does not exist, to which nobody sends anything. */
export function accessTo(port: ReachablePort | undefined, mesh: Mesh, lists: SharedLists): Access {
  if (port === undefined) return new Access([], lists);
  const { target } = port;
  return new Access(
    everybody.flatMap((caller) => [...outcomesOf({ caller, to: target, requests: everyRequest }, mesh)]),
    lists,
  );
}
