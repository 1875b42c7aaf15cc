import type { Mesh } from "../../view/view.ts";
import type { Applied } from "../authorization/requests/applied.ts";
import { type Box, everyRequest } from "../authorization/requests/boxes.ts";
import { keyOfSet } from "../authorization/requests/sets.ts";
import type { Work } from "../authorization/requests/work.ts";
import { decisionsBy, type Decision, decisionsOf, type Enforcement } from "../requests/decisions.ts";
import { clientsDistinguished, outcomesOf } from "../requests/outcomes.ts";
import type { Distinguished } from "../requests/sources.ts";
import { type Namespace, namespaceIn } from "../membership/namespaces.ts";
import { hasProxy } from "../membership/workload-entries.ts";
import type { Caller, Target } from "../requests/question.ts";
import { Access } from "./access.ts";
import type { SharedLists } from "./callers.ts";
import { SharedRules } from "./shared-rules.ts";
import type { ReachablePort } from "./targets.ts";

/** The work for one port and its callers, in compared values: more than for a question of a rule, because a person waits. */
export const workForPort = 1_000_000;

/** Everybody: with a certificate of the mesh, and without one. */
const outside: Caller = { kind: "outside" };
const everybody: readonly Caller[] = [{ kind: "mesh" }, outside];

/** Whether somebody outside the mesh can be kept away: a host outside of it is for anybody. */
const isInMesh = (to: Target): boolean =>
  to.kind !== "host" ||
  to.entries.some(({ spec }) => spec.workloadSelector !== undefined || spec.endpoints.some(hasProxy));

/**
 * What policies decide, found out once for all ports at which the same policies apply to the same requests, before and after a
 * change, so that the cost follows the policies.
 */
export class SharedDecisions {
  readonly #known = new Map<string, readonly Decision[]>();
  readonly #keys = new WeakMap<Applied["lists"], string>();
  readonly #numbers = new WeakMap<object, number>();
  readonly #rules = new SharedRules();
  #count = 0;

  /** As decisionsOf. */
  of(box: Box, enforcement: Enforcement, work: Work): Iterable<Decision> {
    const { at, applied, custom } = enforcement;
    if (custom !== undefined) return decisionsOf(box, enforcement, work);
    const { place, settings, lists } = applied;
    const trust = [settings.trustDomain, ...settings.trustDomainAliases].join();
    const key = [at, place, trust, this.#keyOf(lists), keyOfSet([box])].join("\n");
    let found = this.#known.get(key);
    if (found === undefined) this.#known.set(key, (found = [...decisionsBy(this.#rules, box, enforcement, work)]));
    return found;
  }

  /** Policies never change, and both sides of a change share those that it does not concern. */
  #keyOf(lists: Applied["lists"]): string {
    let key = this.#keys.get(lists);
    if (key === undefined) {
      key = lists.map(({ policies }) => policies.map((policy) => this.#numberOf(policy)).join()).join(";");
      this.#keys.set(lists, key);
    }
    return key;
  }

  #numberOf(policy: object): number {
    let number = this.#numbers.get(policy);
    if (number === undefined) this.#numbers.set(policy, (number = this.#count++));
    return number;
  }
}

interface AccessOptions {
  readonly decisions?: SharedDecisions;
  /** Those whose requests count. */
  readonly callers?: readonly Caller[];
}

/** Who can send what to the ports of one mesh. */
export class PortAccess {
  readonly #mesh: Mesh;
  readonly #lists: SharedLists;
  readonly #decisions: SharedDecisions;
  readonly #callers: readonly Caller[];

  constructor(
    mesh: Mesh,
    lists: SharedLists,
    { decisions = new SharedDecisions(), callers = everybody }: AccessOptions = {},
  ) {
    this.#mesh = mesh;
    this.#lists = lists;
    this.#decisions = decisions;
    this.#callers = callers;
  }

  /** Which callers of a port are told apart here from those of the rest of the mesh. */
  distinguished(port: ReachablePort | undefined): Distinguished | undefined {
    return port && clientsDistinguished(port.target, this.#mesh);
  }

  /**
   * Undefined: a port that does not exist, to which nobody sends anything. `others`: whom the other side of a change tells apart. Who
   * is one of "everybody in the mesh" on one side alone would seem to come or go.
   */
  to(port: ReachablePort | undefined, others?: Distinguished): Access {
    if (port === undefined) return new Access([], this.#lists);
    const compared = others && { ...others, namespaces: others.namespaces.flatMap((one) => this.#own(one) ?? []) };
    const question = { to: port.target, requests: everyRequest };
    const decide = this.#decisions.of.bind(this.#decisions);
    const means = { limit: workForPort, decide, memory: this.#lists.memory };
    const callers = this.#callers.filter((caller) => caller !== outside || isInMesh(port.target));
    const outcomes = callers.flatMap((caller) => [
      ...outcomesOf({ caller, ...question }, this.#mesh, { ...means, compared }),
    ]);
    return new Access(outcomes, this.#lists);
  }

  /** The namespace on this side; undefined: it does not exist, so that nobody in it has sent anything. */
  #own(other: Namespace): Namespace | undefined {
    const found = namespaceIn(this.#mesh, other.metadata.name);
    return found.implied === true && other.implied !== true ? undefined : found;
  }
}
