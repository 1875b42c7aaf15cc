import type { Schema } from "../schemas/schema.ts";
import { messageDuration } from "../schemas/values.ts";

/**
 * Messages of Protocol Buffers as structural schemas of their JSON form, from the text of their definitions. What Istio's own files
 * use is understood: messages, enums, `oneof`, maps, and the well-known types. Throws an Error for anything else.
 */
export function schemaOfMessage(files: readonly string[], name: string): Schema {
  const messages = new Map(files.flatMap((text) => new ProtoFile(text).entries()));
  return new MessageSchemas(messages).of(name);
}

interface Field {
  /** As in JSON. */
  readonly name: string;
  readonly type: string;
  readonly of: "one" | "list" | "map";
}
/** A message with its fields, or an enum with the names of its values. */
type Declared = { readonly fields: readonly Field[] } | { readonly values: readonly string[] };

const scalars: Readonly<Record<string, Schema>> = {
  string: { type: "string" },
  bytes: { type: "string", format: "byte" },
  bool: { type: "boolean" },
  double: { type: "number" },
  float: { type: "number" },
  int32: { type: "integer", format: "int32" },
  uint32: { type: "integer", format: "uint32" },
  int64: { type: "integer" },
  uint64: { type: "integer" },
};
const wellKnown: Readonly<Record<string, Schema>> = {
  Duration: { type: "string", pattern: messageDuration },
  Struct: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
  BoolValue: { type: "boolean" },
  StringValue: { type: "string" },
  DoubleValue: { type: "number" },
  FloatValue: { type: "number" },
  Int32Value: { type: "integer", format: "int32" },
  UInt32Value: { type: "integer", format: "uint32" },
  Int64Value: { type: "integer" },
  UInt64Value: { type: "integer" },
};

class MessageSchemas {
  readonly #declared: ReadonlyMap<string, Declared>;
  readonly #open = new Set<string>();

  constructor(declared: ReadonlyMap<string, Declared>) {
    this.#declared = declared;
  }

  of(name: string): Schema {
    const found = this.#declared.get(name);
    if (found === undefined) throw new Error(`the message ${name} is not defined`);
    if ("values" in found) return { enum: found.values };
    if (this.#open.has(name)) throw new Error(`the message ${name} contains itself`);
    this.#open.add(name);
    const properties = Object.fromEntries(found.fields.map((field) => [field.name, this.#fieldOf(field, name)]));
    this.#open.delete(name);
    return { type: "object", properties };
  }

  #fieldOf({ type, of }: Field, scope: string): Schema {
    const one = scalars[type] ?? this.#named(type, scope);
    if (of === "one") return one;
    return of === "list" ? { type: "array", items: one } : { type: "object", additionalProperties: one };
  }

  /** A name is looked up in the message, then in what contains it. */
  #named(type: string, scope: string): Schema {
    const [, known] = /^google\.protobuf\.(\w+)$/.exec(type) ?? [];
    if (known !== undefined) {
      const schema = wellKnown[known];
      if (schema === undefined) throw new Error(`the type ${type} is not known`);
      return schema;
    }
    for (let outer = scope; ; outer = outer.slice(0, Math.max(0, outer.lastIndexOf(".")))) {
      const name = outer === "" ? type : `${outer}.${type}`;
      if (this.#declared.has(name)) return this.of(name);
      if (outer === "") throw new Error(`the type ${type} of ${scope} is not defined`);
    }
  }
}

/** Reads the messages and enums of one file. */
class ProtoFile {
  readonly #tokens: readonly string[];
  #at = 0;
  readonly #found: [string, Declared][] = [];

  constructor(text: string) {
    const code = text.replaceAll(/\/\/[^\n]*|\/\*[^]*?\*\//g, " ");
    this.#tokens = code.match(/"[^"]*"|[\w.]+|[{}[\]<>=;,()-]/g) ?? [];
  }

  entries(): readonly (readonly [string, Declared])[] {
    let scope = "";
    while (this.#at < this.#tokens.length) {
      const word = this.#next();
      if (word === "package") scope = this.#next();
      if (word === "message") this.#message(scope);
      else if (word === "enum") this.#enum(scope);
      else this.#skipStatement();
    }
    return this.#found;
  }

  #message(scope: string): void {
    const name = `${scope}.${this.#next()}`;
    const fields: Field[] = [];
    this.#expect("{");
    this.#members(name, fields);
    this.#found.push([name, { fields }]);
  }

  #members(name: string, fields: Field[]): void {
    for (let word = this.#next(); word !== "}"; word = this.#next()) {
      if (word === "message") this.#message(name);
      else if (word === "enum") this.#enum(name);
      else if (word === "oneof") {
        this.#next();
        this.#expect("{");
        this.#members(name, fields);
      } else if (word === "reserved" || word === "option") this.#skipStatement();
      else if (word !== ";") fields.push(this.#field(word));
    }
  }

  #field(first: string): Field {
    const field = this.#typeOf(first);
    const name = jsonName(this.#next());
    this.#skipStatement();
    return { name, ...field };
  }

  #typeOf(first: string): Omit<Field, "name"> {
    if (first === "repeated") return { type: this.#next(), of: "list" };
    if (first === "optional") return { type: this.#next(), of: "one" };
    if (first !== "map") return { type: first, of: "one" };
    this.#expect("<");
    this.#next();
    this.#expect(",");
    const type = this.#next();
    this.#expect(">");
    return { type, of: "map" };
  }

  #enum(scope: string): void {
    const name = `${scope}.${this.#next()}`;
    const values: string[] = [];
    this.#expect("{");
    for (let word = this.#next(); word !== "}"; word = this.#next()) {
      if (word === "reserved" || word === "option") {
        this.#skipStatement();
        continue;
      }
      values.push(word);
      this.#skipStatement();
    }
    this.#found.push([name, { values }]);
  }

  /** To the end of a statement: a semicolon, or the end of a block. */
  #skipStatement(): void {
    let depth = 0;
    for (;;) {
      const word = this.#next();
      if (word === "{") depth++;
      if (word === "}") depth--;
      if (depth === 0 && (word === ";" || word === "}")) return;
    }
  }

  #next(): string {
    const word = this.#tokens[this.#at++];
    if (word === undefined) throw new Error("the definition ends within a statement");
    return word;
  }

  #expect(word: string): void {
    const found = this.#next();
    if (found !== word)
      throw new Error(`the definition has ${JSON.stringify(found)} instead of ${JSON.stringify(word)}`);
  }
}

const jsonName = (name: string): string => name.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
