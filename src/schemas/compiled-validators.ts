import { basename } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Schema } from "./schema.ts";

/**
 * Recovers the schema that a validator was compiled from. The packages `kubernetes-models` and `@kubernetes-models/apimachinery`
 * contain Kubernetes' definitions only in this form: one function for each schema, which calls those of the inner schemas and lists its
 * keywords with their values in the errors that it reports. A test compares the results with the validators themselves.
 *
 * `read` returns the text of a file by its name alone, which is unique in all of the packages.
 *
 * Throws an Error if the code has another form than that of the pinned versions.
 */
export function schemaOfValidator(file: string, read: (file: string) => string): Schema {
  return new Validators(read).exportOf(file);
}

/** The error that a keyword reports, or a call of the validator for `data`, a property, an item or an entry. */
const step =
  /\b(validate\d+)\((data(?:\.[\w$]+|\["(?:[^"\\]|\\.)*"\]|\[i\d+\]|\[key\d+\])?),\{|keyword:"(\w+)",params:\{(?:comparison:"[<>]=",)?(?:\w+:("(?:[^"\\]|\\.)*"|[^}]*))?\}/g;
const start = /\bfunction (validate\d+)\(data,/g;

interface Draft {
  type?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  additionalProperties?: Schema;
  items?: Schema;
  [keyword: string]: unknown;
}

class Validators {
  readonly #read: (file: string) => string;
  readonly #files = new Map<string, Schema>();

  constructor(read: (file: string) => string) {
    this.#read = read;
  }

  exportOf(file: string): Schema {
    let known = this.#files.get(file);
    if (known === undefined) {
      const code = this.#read(file);
      const name = /export const validate=(\w+);/.exec(code)?.[1];
      if (name === undefined) throw new Error(`${file} exports no validator`);
      known = new Module(file, code, (other) => this.exportOf(other)).schemaOf(name);
      this.#files.set(file, known);
    }
    return known;
  }
}

class Module {
  readonly #file: string;
  readonly #code: string;
  readonly #bodies = new Map<string, string>();
  readonly #imports = new Map<string, string>();
  readonly #schemas = new Map<string, Schema>();
  readonly #exportOf: (file: string) => Schema;

  constructor(file: string, code: string, exportOf: (file: string) => Schema) {
    this.#file = file;
    this.#code = code;
    this.#exportOf = exportOf;
    const starts = [...code.matchAll(start)];
    for (const [index, { 0: head, 1: name = "", index: from }] of starts.entries())
      this.#bodies.set(name, code.slice(from + head.length, starts[index + 1]?.index));
    for (const [, name = "", from = ""] of code.matchAll(/import\{validate as (\w+)\}from"([^"]+)"/g))
      this.#imports.set(name, from);
  }

  schemaOf(name: string): Schema {
    let known = this.#schemas.get(name);
    if (known === undefined) this.#schemas.set(name, (known = this.#build(name)));
    return known;
  }

  #build(name: string): Schema {
    const from = this.#imports.get(name);
    if (from !== undefined) return this.#exportOf(`${basename(from, ".js")}.js`);
    const body = this.#bodies.get(name);
    if (body === undefined) throw new Error(`${this.#file}: there is no function ${name}`);
    const draft: Draft = {};
    let own: Schema[] = [];
    for (const [, called, target = "", keyword = "", value = ""] of body.matchAll(step)) {
      if (called === undefined) own = this.#addKeyword(draft, { keyword, value, own });
      else if (target === "data") own.push(this.schemaOf(called));
      else this.#addInner(draft, target, this.schemaOf(called));
    }
    return own.reduce<Schema>(both, draft);
  }

  #addInner(draft: Draft, target: string, inner: Schema): void {
    if (/^data\[i\d+\]$/.test(target)) draft.items = inner;
    else if (/^data\[key\d+\]$/.test(target)) draft.additionalProperties = inner;
    else (draft.properties ??= {})[propertyOf(target)] = inner;
  }

  /** Returns the schemas for the value itself that are no part of the keyword. */
  #addKeyword(
    draft: Draft,
    { keyword, value, own }: { readonly keyword: string; readonly value: string; readonly own: Schema[] },
  ): Schema[] {
    if (keyword === "oneOf" || keyword === "anyOf" || keyword === "not") {
      draft[keyword] = keyword === "not" ? own[0] : own;
      return [];
    }
    const found = this.#valueOf(keyword, value);
    if (keyword === "required") (draft.required ??= []).push(String(found));
    else draft[keyword] = found;
    return own;
  }

  #valueOf(keyword: string, value: string): unknown {
    const constant = /^\w+_enum$/.test(value) ? this.#constant(value) : value;
    // The code is minified: 0xffffffff, 1e3.
    if (/^[-\w.]+$/.test(constant) && Number.isFinite(Number(constant))) return Number(constant);
    try {
      return JSON.parse(constant) as unknown;
    } catch {
      throw new Error(`${this.#file}: the value of ${keyword} is not a constant: ${constant.slice(0, 100)}`);
    }
  }

  #constant(name: string): string {
    const found = new RegExp(`\\b${name}=(\\[(?:"(?:[^"\\\\]|\\\\.)*"|[^\\]"])*\\])`).exec(this.#code)?.[1];
    if (found === undefined) throw new Error(`${this.#file}: there is no constant ${name}`);
    return found;
  }
}

/** One schema for what both ask for: Go structs that embed others become a list of schemas. */
function both(one: Schema, other: Schema): Schema {
  const { properties, required, ...rest } = other;
  const isDisjoint = Object.entries(rest).every(([keyword, value]) =>
    isDeepStrictEqual(Reflect.get(one, keyword) ?? value, value),
  );
  const isNew = Object.keys(properties ?? {}).every((name) => one.properties?.[name] === undefined);
  if (!isDisjoint || !isNew) return { ...one, allOf: [...(one.allOf ?? []), other] };
  return {
    ...one,
    ...rest,
    ...(properties === undefined ? {} : { properties: { ...one.properties, ...properties } }),
    ...(required === undefined ? {} : { required: [...(one.required ?? []), ...required] }),
  };
}
/** `data.mode` or `data["x-mode"]`. */
const propertyOf = (target: string): string =>
  target.startsWith("data.") ? target.slice("data.".length) : String(JSON.parse(target.slice("data[".length, -1)));
