import { type CelFunc, celFunc, CelScalar, type CelType, mapType } from "@bufbuild/cel";
import type { ExpressionType } from "../cel/expression-types.ts";
import { BudgetExceeded } from "../engine/budget.ts";
import { type Argument, type Asking, type MeshFunction, meshFunctions } from "./mesh-functions.ts";

// How the CEL library calls the functions of the mesh.

const { STRING, DYN, INT } = CelScalar;

// An evaluation is synchronous, and functions of the CEL library receive nothing but their arguments.
let asking: Asking | undefined;

/** Answers the functions of the mesh while a task runs. */
export function answering<T>(one: Asking, task: () => T): T {
  const outer = asking;
  asking = one;
  try {
    return task();
  } finally {
    asking = outer;
  }
}

const argumentTypes: Readonly<Record<Argument, CelType>> = { object: DYN, namespace: STRING, host: STRING, port: INT };

const celFunctionOf = ({ name, takes, result, evaluate }: MeshFunction): CelFunc =>
  celFunc(
    `mesh.${name}`,
    takes.map((one) => (one === "object" ? mapType(DYN, DYN) : argumentTypes[one])),
    result,
    (...args: readonly unknown[]) => {
      if (asking === undefined) throw new Error(`mesh.${name}() needs a mesh`);
      // Another argument than a text or a number is the object itself.
      const key = [name, ...args.map((one) => (typeof one === "string" || typeof one === "bigint" ? one : ""))].join(
        " ",
      );
      const known = asking.answers.get(key);
      if (known !== undefined) return known;
      try {
        const answer = evaluate(asking, ...args);
        asking.answers.set(key, answer);
        return answer;
      } catch (error) {
        if (error instanceof BudgetExceeded) asking.exceeded = error;
        throw error;
      }
    },
  );

const celFunctions: readonly (readonly [CelFunc, MeshFunction])[] = meshFunctions.map((one) => [
  celFunctionOf(one),
  one,
]);

/** The functions for the CEL library. */
export const celMeshFunctions: readonly CelFunc[] = celFunctions.map(([func]) => func);

/** What the library cannot say of their results. */
export const meshResults: ReadonlyMap<CelFunc, ExpressionType> = new Map(
  celFunctions.flatMap(([func, { resultType }]) => (resultType === undefined ? [] : [[func, resultType] as const])),
);
