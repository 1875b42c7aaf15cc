import type { Mesh } from "../../view/view.ts";
import type { Applied } from "../authorization/requests/applied.ts";
import { type Box, everyRequest } from "../authorization/requests/boxes.ts";
import { keyOfSet } from "../authorization/requests/sets.ts";
import type { Work } from "../authorization/requests/work.ts";
import { type Decision, decisionsOf, type Enforcement } from "../requests/decisions.ts";
import { outcomesOf } from "../requests/outcomes.ts";
import type { Caller } from "../requests/question.ts";
import { Access } from "./access.ts";
import type { SharedLists } from "./callers.ts";
import type { ReachablePort } from "./targets.ts";

/** Everybody: with a certificate of the mesh, and without one. */
const everybody: readonly Caller[] = [{ kind: "mesh" }, { kind: "outside" }];

/**
 * Who can send what to the ports of one mesh. What policies decide is found out once for all ports at which the same policies
 * apply to the same requests, so that the cost follows the policies.
 */
export class PortAccess {
  readonly #mesh: Mesh;
  readonly #lists: SharedLists;
  readonly #decisions = new Map<Applied["lists"], Map<string, readonly Decision[]>>();

  constructor(mesh: Mesh, lists: SharedLists) {
    this.#mesh = mesh;
    this.#lists = lists;
  }

  /** Undefined: a port that does not exist, to which nobody sends anything. */
  to(port: ReachablePort | undefined): Access {
    if (port === undefined) return new Access([], this.#lists);
    const question = { to: port.target, requests: everyRequest };
    const decide = this.#decide.bind(this);
    const outcomes = everybody.flatMap((caller) => [...outcomesOf({ caller, ...question }, this.#mesh, { decide })]);
    return new Access(outcomes, this.#lists);
  }

  #decide(box: Box, enforcement: Enforcement, work: Work): Iterable<Decision> {
    const { at, applied, custom } = enforcement;
    if (custom !== undefined) return decisionsOf(box, enforcement, work);
    let ofPolicies = this.#decisions.get(applied.lists);
    if (ofPolicies === undefined) this.#decisions.set(applied.lists, (ofPolicies = new Map()));
    const key = [at, applied.place, keyOfSet([box])].join("\n");
    let found = ofPolicies.get(key);
    if (found === undefined) ofPolicies.set(key, (found = [...decisionsOf(box, enforcement, work)]));
    return found;
  }
}
