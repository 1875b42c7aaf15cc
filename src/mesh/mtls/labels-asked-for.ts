import type { Labels } from "../../kube/object.ts";
import { selectorText } from "../objects/selector-groups.ts";
import { selects } from "../objects/selectors.ts";
import type { NamespaceMtls, PeerAuthentication } from "./effective-mtls.ts";

/**
 * The smallest sets of labels for which each policy can win, starting with none. If one of two policies is new or
 * changed, the winner can change between them, so the labels of both together are included too.
 */
export function* labelsAskedFor(was: NamespaceMtls, is: NamespaceMtls): Iterable<Labels> {
  const [old, now] = [new Set(was.levels.workload), new Set(is.levels.workload)];
  yield {};
  const known = new Set<string>();
  for (const policy of new Set([...old, ...now])) {
    const labels = labelsOf(policy);
    if (!known.has(selectorText(labels))) yield labels;
    known.add(selectorText(labels));
  }
  const winners = [...now].filter((policy) => !old.has(policy));
  for (const loser of old)
    for (const winner of now.has(loser) ? winners : now) {
      const both = { ...labelsOf(loser), ...labelsOf(winner) };
      if (selects(labelsOf(loser), both)) yield both;
    }
}

const labelsOf = ({ spec }: PeerAuthentication): Labels => spec.selector?.matchLabels ?? {};

/** Sets of labels, to find out whether one of them is contained in other labels. */
export class LabelSets {
  readonly #byLabel = new Map<string, Labels[]>();
  #hasEmpty = false;

  /** Whether these labels contain one of the sets. */
  hasPartOf(labels: Labels): boolean {
    if (this.#hasEmpty) return true;
    return Object.entries(labels).some((label) =>
      this.#byLabel.get(JSON.stringify(label))?.some((few) => selects(few, labels)),
    );
  }

  /** A set is stored under the one of its labels with the fewest sets. */
  add(labels: Labels): void {
    let fewest: Labels[] | undefined;
    for (const label of Object.entries(labels)) {
      const key = JSON.stringify(label);
      const there = this.#byLabel.get(key) ?? [];
      this.#byLabel.set(key, there);
      if (fewest === undefined || there.length < fewest.length) fewest = there;
    }
    if (fewest === undefined) this.#hasEmpty = true;
    else fewest.push(labels);
  }
}
