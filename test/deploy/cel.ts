import { isDeepStrictEqual } from "node:util";

/**
 * The part of the Common Expression Language that the conditions for workloads use, evaluated as the API server does: a field
 * that an object lacks is an error, and `||` and `&&` ignore an error if the other operand decides.
 */
export function evaluateCel(expression: string, variables: Readonly<Record<string, unknown>>): unknown {
  const parser = new Parser(expression);
  const parsed = parser.conditional();
  parser.expectEnd();
  return parsed(variables);
}

type Variables = Readonly<Record<string, unknown>>;
type Expression = ((variables: Variables) => unknown) & { readonly has?: (variables: Variables) => boolean };

const token = /\s*(?:('[^']*')|(\d+)|([A-Za-z_]\w*)|(==|!=|&&|\|\||[-+!?:.,()[\]{}]))/y;

class Parser {
  readonly #tokens: string[] = [];
  #at = 0;

  constructor(text: string) {
    token.lastIndex = 0;
    const end = text.trimEnd().length;
    while (token.lastIndex < end) {
      const from = token.lastIndex;
      const found = token.exec(text);
      if (found === null) throw new SyntaxError(`unexpected text: ${text.slice(from)}`);
      this.#tokens.push(found[0].trim());
    }
  }

  conditional(): Expression {
    const condition = this.#or();
    if (!this.#takes("?")) return condition;
    const yes = this.conditional();
    this.#expect(":");
    const no = this.conditional();
    return (variables) => (bool(condition(variables)) ? yes(variables) : no(variables));
  }

  expectEnd(): void {
    if (this.#at < this.#tokens.length) throw new SyntaxError(`unexpected "${this.#tokens[this.#at]}"`);
  }

  #or(): Expression {
    let left = this.#and();
    while (this.#takes("||")) left = either(left, this.#and(), true);
    return left;
  }

  #and(): Expression {
    let left = this.#comparison();
    while (this.#takes("&&")) left = either(left, this.#comparison(), false);
    return left;
  }

  #comparison(): Expression {
    const left = this.#sum();
    for (const [operator, compare] of comparisons)
      if (this.#takes(operator)) {
        const right = this.#sum();
        return (variables) => compare(left(variables), right(variables));
      }
    return left;
  }

  #sum(): Expression {
    let left = this.#unary();
    while (this.#takes("+")) {
      const [one, other] = [left, this.#unary()];
      left = (variables) => `${text(one(variables))}${text(other(variables))}`;
    }
    return left;
  }

  #unary(): Expression {
    if (!this.#takes("!")) return this.#member();
    const operand = this.#unary();
    return (variables) => !bool(operand(variables));
  }

  #member(): Expression {
    let value = this.#primary();
    for (;;) {
      if (this.#takes(".")) value = this.#takes("size") ? this.#size(value) : this.#field(value);
      else if (this.#takes("[")) value = this.#item(value);
      else return value;
    }
  }

  #size(list: Expression): Expression {
    this.#expect("(");
    this.#expect(")");
    return (variables) => (list(variables) as readonly unknown[]).length;
  }

  #field(of: Expression): Expression {
    const name = this.#next();
    const has = (variables: Variables): boolean => {
      const object = of(variables);
      if (typeof object !== "object" || object === null) throw new TypeError(`no field ${name} of ${String(object)}`);
      return Object.hasOwn(object, name);
    };
    const read = (variables: Variables): unknown => {
      if (!has(variables)) throw new TypeError(`no such key: ${name}`);
      return (of(variables) as Readonly<Record<string, unknown>>)[name];
    };
    return Object.assign(read, { has });
  }

  #item(of: Expression): Expression {
    const index = this.conditional();
    this.#expect("]");
    return (variables) => {
      const list = of(variables) as readonly unknown[];
      const at = index(variables) as number;
      if (at >= list.length) throw new RangeError(`index out of bounds: ${at}`);
      return list[at];
    };
  }

  #primary(): Expression {
    if (this.#takes("(")) {
      const inner = this.conditional();
      this.#expect(")");
      return inner;
    }
    if (this.#takes("{")) {
      this.#expect("}");
      return () => ({});
    }
    if (this.#takes("[")) return this.#list();
    const next = this.#next();
    if (next.startsWith("'")) return () => next.slice(1, -1);
    if (/^\d/.test(next)) return () => Number(next);
    if (next === "has") return this.#has();
    return (variables) => {
      if (!Object.hasOwn(variables, next)) throw new ReferenceError(`undeclared reference to ${next}`);
      return variables[next];
    };
  }

  #has(): Expression {
    const { has } = this.#inParentheses();
    if (has === undefined) throw new SyntaxError("has() needs a field");
    return has;
  }

  #list(): Expression {
    const items: Expression[] = [];
    while (!this.#takes("]")) {
      items.push(this.conditional());
      this.#takes(",");
    }
    return (variables) => items.map((item) => item(variables));
  }

  #inParentheses(): Expression {
    this.#expect("(");
    const inner = this.conditional();
    this.#expect(")");
    return inner;
  }

  #takes(wanted: string): boolean {
    if (this.#tokens[this.#at] !== wanted) return false;
    this.#at++;
    return true;
  }

  #expect(wanted: string): void {
    if (!this.#takes(wanted)) throw new SyntaxError(`expected "${wanted}", found "${this.#tokens[this.#at]}"`);
  }

  #next(): string {
    const next = this.#tokens[this.#at++];
    if (next === undefined) throw new SyntaxError("the expression ends too early");
    return next;
  }
}

const comparisons: readonly (readonly [operator: string, compare: (a: unknown, b: unknown) => boolean])[] = [
  ["==", isDeepStrictEqual],
  ["!=", (a, b) => !isDeepStrictEqual(a, b)],
  ["in", (a, b) => (b as readonly unknown[]).includes(a)],
];

/** `||` with `deciding` true, `&&` with false. */
const either =
  (left: Expression, right: Expression, deciding: boolean): Expression =>
  (variables) => {
    let failure: Error | undefined;
    for (const operand of [left, right])
      try {
        if (bool(operand(variables)) === deciding) return deciding;
      } catch (error) {
        if (!(error instanceof Error)) throw error;
        failure ??= error;
      }
    if (failure !== undefined) throw failure;
    return !deciding;
  };

function bool(value: unknown): boolean {
  if (typeof value !== "boolean") throw new TypeError(`not a boolean: ${String(value)}`);
  return value;
}

function text(value: unknown): string {
  if (typeof value !== "string") throw new TypeError(`not a string: ${String(value)}`);
  return value;
}
