import {
  type Alias,
  isAlias,
  isMap,
  isNode,
  isScalar,
  isSeq,
  type Node,
  type Pair,
  type Scalar,
  type YAMLMap,
  type YAMLSeq,
} from "yaml";
import { resolvePlain, resolveTagged, type ScalarValue } from "../../kube/plain-scalars.ts";
import { DocumentProblem, maxDepth, type Positions, quote, setOwn, tooDeep } from "./source-document.ts";

/** How much aliases can still add to the values of one file, in nodes and characters. */
export interface AliasBudget {
  left: number;
}

/** Several hundred times what real manifests need, at a cost of less than a second and less than a gigabyte. */
export const aliasBudget = 500_000;

/** A duplicate key of a map: its offset and the offset of the first one. */
export interface Duplicate {
  readonly key: string;
  readonly offset: number;
  readonly first: number;
}

const mergeTag = "tag:yaml.org,2002:merge";

/**
 * Converts the nodes of one document into plain values as kubectl does (`decode.go` of go.yaml.in/yaml/v2 and
 * `convertToJSONableObject` of sigs.k8s.io/yaml). A merge key overrides keys before it and is overridden by keys after
 * it. Keys that are numbers or booleans become strings. Aliases are expanded, within a budget.
 * Throws DocumentProblem.
 */
export class YamlValues {
  readonly duplicates: Duplicate[] = [];
  readonly #anchors = new Map<string, Node>();
  readonly #opened = new Set<Alias>();
  readonly #budget: AliasBudget;
  readonly #base: number;
  readonly #text: string;
  readonly #positions: Positions | undefined;
  /** Inside an alias, every node has the position of the alias. */
  #aliasOffset: number | undefined;

  /** A document, and its offset in its file. */
  constructor({ start, text }: { start: number; text: string }, budget: AliasBudget, positions?: Positions) {
    this.#base = start;
    this.#text = text;
    this.#budget = budget;
    this.#positions = positions;
  }

  valueOf(node: unknown, depth = 0): unknown {
    if (isAlias(node)) return this.#throughAlias(node, (target) => this.valueOf(target, depth + 1));
    if (isScalar(node)) {
      this.#enter(node, depth, typeof node.source === "string" ? node.source.length : 0);
      return this.#scalar(node);
    }
    if (isSeq(node)) return this.#sequence(node, depth);
    if (!isMap(node)) return null;
    const object: Record<string, unknown> = {};
    this.#fill(object, node, depth);
    return object;
  }

  #enter(node: Node, depth: number, size: number): void {
    if (depth > maxDepth) throw new DocumentProblem(this.#offsetOf(node), tooDeep);
    if (this.#aliasOffset === undefined) {
      const anchor = (node as { anchor?: string }).anchor;
      if (anchor !== undefined) this.#anchors.set(anchor, node);
      return;
    }
    this.#budget.left -= 1 + size;
    if (this.#budget.left < 0) {
      throw new DocumentProblem(
        this.#aliasOffset,
        `the aliases of this file expand to more than ${aliasBudget} nodes and characters: write the values out, or split the file`,
      );
    }
  }

  #throughAlias<T>(alias: Alias, read: (target: Node) => T): T {
    const offset = this.#offsetOf(alias);
    const target = this.#anchors.get(alias.source);
    if (target === undefined) {
      throw new DocumentProblem(
        offset,
        `the alias *${alias.source} refers to no anchor above it; define &${alias.source} first`,
      );
    }
    if (this.#opened.has(alias)) {
      throw new DocumentProblem(offset, `the anchor &${alias.source} contains itself; write the value out`);
    }
    const outer = this.#aliasOffset;
    this.#aliasOffset ??= offset;
    this.#opened.add(alias);
    const result = read(target);
    this.#opened.delete(alias);
    this.#aliasOffset = outer;
    return result;
  }

  #sequence(node: YAMLSeq, depth: number): unknown[] {
    this.#enter(node, depth, 0);
    const list: unknown[] = [];
    for (const item of node.items) {
      this.#positions?.add(list, list.length, this.#offsetOf(item));
      const pair = onlyPair(item);
      list.push((pair && this.#textWithColon(pair)) ?? this.valueOf(item, depth + 1));
    }
    return list;
  }

  #fill(object: Record<string, unknown>, node: YAMLMap, depth: number): void {
    this.#enter(node, depth, 0);
    const seen = new Map<string, number>();
    for (const pair of node.items) {
      if (isMergeKey(pair.key)) {
        this.#merge(object, pair.value, depth);
        continue;
      }
      const offset = this.#offsetOf(pair.key);
      const key = (node.flow === true ? this.#textWithColon(pair) : undefined) ?? this.#keyOf(pair.key, offset);
      const first = seen.get(key);
      if (first === undefined) seen.set(key, offset);
      else if (this.#aliasOffset === undefined) this.duplicates.push({ key, offset, first });
      this.#positions?.add(object, key, offset);
      setOwn(object, key, this.valueOf(pair.value, depth + 1));
    }
  }

  #merge(object: Record<string, unknown>, source: unknown, depth: number): void {
    if (isSeq(source)) {
      // Anchors in an inline map of the list are defined before any entry of the list is merged.
      for (const item of source.items) this.#register(item);
      for (const item of source.items.toReversed()) this.#mergeOne(object, item, depth);
    } else {
      this.#mergeOne(object, source, depth);
    }
  }

  #register(item: unknown): void {
    if (isMap(item) && item.anchor !== undefined && this.#aliasOffset === undefined)
      this.#anchors.set(item.anchor, item);
  }

  #mergeOne(object: Record<string, unknown>, source: unknown, depth: number): void {
    if (isMap(source)) {
      this.#fill(object, source, depth + 1);
      return;
    }
    if (!isAlias(source)) throw this.#notMergeable(source);
    this.#throughAlias(source, (target) => {
      if (!isMap(target)) throw this.#notMergeable(source);
      this.#fill(object, target, depth + 1);
    });
  }

  #notMergeable(source: unknown): DocumentProblem {
    return new DocumentProblem(
      this.#offsetOf(source),
      "a merge key << needs a map, an alias of a map, or a list of those; correct its value",
    );
  }

  #keyOf(node: unknown, offset: number): string {
    const value = isMap(node) || isSeq(node) ? undefined : this.valueOf(node);
    if (typeof value === "string") return value;
    if (value === null) throw new DocumentProblem(offset, "a key is empty or null: give it a name, or quote it");
    if (typeof value === "boolean" || typeof value === "number") return String(value);
    throw new DocumentProblem(
      offset,
      "expected a key, found a map or a list; if this is a template ({{ }}), render it first; otherwise quote it",
    );
  }

  #scalar(node: Scalar): ScalarValue {
    const text = node.source ?? "";
    const value = scalarValue(node, text);
    if (value === undefined) throw new DocumentProblem(this.#offsetOf(node), wrongTag(node.tag ?? "", text));
    if (typeof value === "number" && !Number.isFinite(value)) {
      throw new DocumentProblem(
        this.#offsetOf(node),
        `${quote(text)} is a number that Kubernetes cannot store: quote it`,
      );
    }
    return value;
  }

  /**
   * The text of a key with its colon, if kubectl reads this as a part of it: between brackets, a colon ends a key only in front of a blank
   * (`yaml_parser_scan_plain_scalar` of go.yaml.in/yaml/v2). An address can end with one. Undefined: it is the end of the key.
   */
  #textWithColon({ key, value }: Pair): string | undefined {
    if (!isScalar(key) || key.type !== "PLAIN" || !key.source || !isScalar(value) || value.source !== "")
      return undefined;
    const end = endOf(key) + 1;
    return value.range?.[0] === end && !/\s/.test(this.#text.charAt(end)) ? `${key.source ?? ""}:` : undefined;
  }

  #offsetOf(node: unknown): number {
    if (this.#aliasOffset !== undefined) return this.#aliasOffset;
    const range = (node as { range?: readonly number[] | null } | null)?.range;
    return this.#base + (range?.[0] ?? 0);
  }
}

function scalarValue(node: Scalar, text: string): ScalarValue | undefined {
  if (node.tag !== undefined) return resolveTagged(node.tag, text);
  return node.type === "PLAIN" ? resolvePlain(text) : text;
}

const endOf = ({ range }: Scalar): number => range?.[1] ?? 0;

/** The pair that other readers take for a map without brackets of its own: `[a: b]`. */
function onlyPair(item: unknown): Pair | undefined {
  const pair = isMap(item) && item.flow === true ? item.items[0] : undefined;
  return isScalar(pair?.key) && isNode(item) && item.range?.[0] === pair.key.range?.[0] ? pair : undefined;
}

function isMergeKey(node: unknown): boolean {
  if (!isScalar(node) || node.source !== "<<") return false;
  return node.tag === mergeTag || (node.tag === undefined && node.type === "PLAIN");
}

function wrongTag(tag: string, text: string): string {
  return `${quote(text)} is not a valid ${tag.replace("tag:yaml.org,2002:", "!!")}: correct the value or remove the tag`;
}
