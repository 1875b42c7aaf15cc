// Counts the work of an evaluation: how often each function, loop and block of src/{engine,mesh,rules,view} is executed, and how
// many objects are visited, which lists of V8 copy without executing a block. Both counts are the same in every run.
//
// Imports are loaded before a module runs, so a test calls countBlocks and then loads its other half with `import()`.

import { type LoadFnOutput, registerHooks, stripTypeScriptTypes } from "node:module";
import { type Node, parse } from "acorn";

const counted = /\/src\/(?:engine|mesh|rules|view)\/[^?]*\.ts$/;

const executed = { blocks: 0 };
const count = "executed.blocks++";

/** Counts in modules that are loaded from now on. */
export function countBlocks(): void {
  Object.assign(globalThis, { executed });
  registerHooks({
    load(url, context, nextLoad): LoadFnOutput {
      const loaded = nextLoad(url, context);
      if (!counted.test(url) || loaded.source === undefined || loaded.source === null) return loaded;
      const source = typeof loaded.source === "string" ? loaded.source : new TextDecoder().decode(loaded.source);
      return { ...loaded, format: "module", source: counting(stripTypeScriptTypes(source)) };
    },
  });
}

/** A module of JavaScript that counts each execution of its blocks, loops and arrow functions. */
function counting(code: string): string {
  const added: { readonly at: number; readonly text: string }[] = [];
  const around = ({ start, end }: Node, [before, after]: readonly [string, string]): void =>
    void added.push({ at: start, text: before }, { at: end, text: after });
  for (const { node, parent } of nodesOf(parse(code, { ecmaVersion: 2024, sourceType: "module" }))) {
    if (node.type === "BlockStatement") added.push({ at: node.start + 1, text: `${count};` });
    else if (parent.type === "ArrowFunctionExpression" && "body" in parent && parent.body === node)
      around(node, [`(${count},`, ")"]);
    else if (/^(?:For|While|DoWhile).*Statement$/.test(parent.type) && "body" in parent && parent.body === node)
      around(node, [`{${count};`, "}"]);
  }
  let at = 0;
  const parts: string[] = [];
  for (const one of added.sort((a, b) => a.at - b.at)) {
    parts.push(code.slice(at, one.at), one.text);
    at = one.at;
  }
  return parts.join("") + code.slice(at);
}

interface Placed {
  readonly node: Node;
  readonly parent: Node;
}

/** All nodes of a syntax tree under its root, each before what it contains. */
function* nodesOf(parent: Node): Iterable<Placed> {
  for (const value of Object.values(parent) as readonly unknown[])
    for (const node of Array.isArray(value) ? (value as readonly unknown[]) : [value])
      if (isNode(node)) {
        yield { node, parent };
        yield* nodesOf(node);
      }
}

const isNode = (value: unknown): value is Node => typeof value === "object" && value !== null && "type" in value;

/** The work of a synchronous function. `visit` is to be called with the number of objects that it visits. */
export function workOf(run: (visit: (objects: number) => void) => void): number {
  const { blocks } = executed;
  let visited = 0;
  run((objects) => (visited += objects));
  return executed.blocks - blocks + visited;
}
