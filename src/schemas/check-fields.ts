import { describe, isObject, type Path } from "../kube/read.ts";
import type { Invalid } from "../kube/invalid.ts";
import { nearest } from "../text/nearest.ts";
import { quoted } from "../text/printable.ts";
import { listed } from "../text/phrases.ts";
import { scalarAdvice } from "../kube/yaml-scalars.ts";
import { has, wrongChoice } from "./choices.ts";
import type { Schema } from "./schema.ts";
import { boundOf, isAbsent, wrongType } from "./values.ts";

/** Nobody corrects more in one go, and a hostile object may have millions. */
export const mostFaults = 20;
/** The most values that are checked of one object; the largest real ones have some ten thousand. */
const mostValues = 200_000;
const mostShown = 12;

/**
 * Checks an object against the schema of its kind, whose defaults it has, as the API server does before admission: values and
 * combinations (`kube-openapi/pkg/validation/validate`), and unknown fields, which strict field validation refuses
 * (`apiextensions-apiserver/pkg/apiserver/schema/pruning`).
 *
 * `apiVersion`, `kind`, `metadata` and `status` are left out. `isExact` is false for schemas of another version than that of the
 * cluster: what a later version may allow is a warning at most.
 */
export function checkFields(object: Record<string, unknown>, schema: Schema, isExact: boolean): readonly Invalid[] {
  const check = new FieldCheck(isExact);
  const own = Object.fromEntries(Object.entries(object).filter(([name]) => !everywhere.has(name)));
  check.value(own, checkedPart(schema), []);
  return check.faults;
}

const everywhere = new Set(["apiVersion", "kind", "metadata", "status"]);
const checkedParts = new WeakMap<Schema, Schema>();

/** The schema without what is left out: one for each, because what is found out about a schema is kept with it. */
function checkedPart(schema: Schema): Schema {
  let found = checkedParts.get(schema);
  if (found === undefined) {
    const { properties = {}, required = [] } = schema;
    const own = Object.fromEntries(Object.entries(properties).filter(([name]) => !everywhere.has(name)));
    found = { ...schema, properties: own, required: required.filter((name) => !everywhere.has(name)) };
    checkedParts.set(schema, found);
  }
  return found;
}

class FieldCheck {
  readonly faults: Invalid[] = [];
  readonly #isExact: boolean;
  #left = mostValues;

  constructor(isExact: boolean) {
    this.#isExact = isExact;
  }

  value(value: unknown, schema: Schema, at: Path): void {
    if (this.faults.length >= mostFaults || this.#left-- <= 0) return;
    if (isAbsent(value) && schema.nullable === true) return;
    const type = wrongType(schema, value);
    if (type !== undefined) {
      const fix = scalarAdvice(type, describe(value));
      this.#refuse(at, `The field must be ${type}, not ${describe(value)}`, false, fix);
      return;
    }
    this.#checkEnum(value, schema, at);
    this.#checkBounds(value, schema, at);
    if (Array.isArray(value)) this.#checkItems(value, schema, at);
    else if (isObject(value)) this.#checkObject(value, schema, at);
    this.#checkChoice(value, schema, at);
  }

  #checkEnum(value: unknown, { enum: allowed }: Schema, at: Path): void {
    if (allowed === undefined || allowed.includes(value)) return;
    const values = allowed.filter((one) => one !== "");
    const names = values.filter((one) => typeof one === "string");
    const near = typeof value === "string" ? (nearest(value, names) ?? longer(value, names)) : undefined;
    const shown = values.slice(0, mostShown).map((one) => JSON.stringify(one));
    const more = values.length > mostShown ? [`${values.length - mostShown} others`] : [];
    const hint = near === undefined ? `the schema allows ${listed([...shown, ...more], "or")}` : didYouMean(near);
    const found = typeof value === "string" ? quoted(value) : describe(value);
    this.#refuse(at, `Unsupported value ${found}: ${hint}`, near === undefined);
  }

  #checkBounds(value: unknown, schema: Schema, at: Path): void {
    const beyond = boundOf(schema, value);
    if (beyond !== undefined) this.#refuse(at, `The field ${beyond.message}`, beyond.isCount);
  }

  #checkChoice(value: unknown, schema: Schema, at: Path): void {
    const wrong = wrongChoice(schema, value);
    // The alternatives repeat what is required, and what is wrong inside is known already.
    if (wrong === undefined || this.faults.some((fault) => isWithin(fault.at, at))) return;
    this.#refuse(at, `The field ${wrong}`);
  }

  #checkItems(items: readonly unknown[], schema: Schema, at: Path): void {
    for (const [index, item] of items.entries())
      if (schema.items !== undefined) this.value(item, schema.items, [...at, index]);
    const type = schema["x-kubernetes-list-type"];
    if (type === "map") this.#checkKeys(items, schema, at);
    else if (type === "set") this.#checkDistinct(items, at);
  }

  #checkDistinct(items: readonly unknown[], at: Path): void {
    const seen = new Map<string, number>();
    for (const [index, item] of items.entries()) {
      const text = JSON.stringify(item);
      const first = seen.get(text);
      if (first === undefined) seen.set(text, index);
      else this.#refuse([...at, index], `The item is the same as item ${first}`);
    }
  }

  #checkKeys(items: readonly unknown[], { "x-kubernetes-list-map-keys": keys = [] }: Schema, at: Path): void {
    const seen = new Map<string, number>();
    for (const [index, item] of items.entries()) {
      if (!isObject(item)) continue;
      const values = keys.map((key) => (has(item, key) ? item[key] : undefined));
      const key = JSON.stringify(values);
      const first = seen.get(key);
      if (first === undefined) seen.set(key, index);
      else this.#refuse([...at, index], `The item has the same ${listed(keys, "and")} as item ${first}`);
    }
  }

  #checkObject(value: Record<string, unknown>, schema: Schema, at: Path): void {
    const meant = new Set<string | undefined>();
    for (const name of Object.keys(value)) {
      // The API server drops a field whose value is null, even an unknown one.
      if (isAbsent(value[name])) continue;
      const inner = innerOf(schema, name);
      if (inner === undefined) meant.add(this.#refuseField(name, schema, at));
      else this.value(value[name], inner, [...at, name]);
    }
    for (const name of missingIn(value, schema))
      if (!meant.has(name)) this.#refuse(at, `The required field ${JSON.stringify(name)} is missing`);
  }

  /** Returns the field that was probably meant. */
  #refuseField(name: string, schema: Schema, at: Path): string | undefined {
    if (isOpen(schema)) return undefined;
    const { properties = {} } = schema;
    const known = Object.keys(properties);
    const near = nearest(name, known);
    const shown = [...known.slice(0, mostShown), ...(known.length > mostShown ? ["others"] : [])];
    const hint = near === undefined ? `the fields here are ${listed(shown, "and")}` : didYouMean(near);
    this.#refuse([...at, name], `Unknown field ${quoted(name)}: ${hint}`, near === undefined);
    return near;
  }

  #refuse(at: Path, message: string, dependsOnVersion = false, fix?: string): void {
    if (this.faults.length >= mostFaults) return;
    const version = dependsOnVersion && !this.#isExact ? { dependsOnVersion: true as const } : {};
    this.faults.push({ at, message, ...version, ...(fix === undefined ? {} : { fix }) });
  }
}

const missingIn = (value: Record<string, unknown>, { required = [] }: Schema): readonly string[] =>
  required.filter((name) => !has(value, name));

function innerOf({ properties, additionalProperties }: Schema, name: string): Schema | undefined {
  if (properties !== undefined && Object.hasOwn(properties, name)) return properties[name];
  return typeof additionalProperties === "object" ? additionalProperties : undefined;
}

/** Whether fields that the schema does not name are kept; without any name, the schema says nothing about them. */
const isOpen = (schema: Schema): boolean =>
  schema.properties === undefined ||
  schema.additionalProperties === true ||
  schema["x-kubernetes-preserve-unknown-fields"] === true ||
  schema["x-kubernetes-embedded-resource"] === true;

/** `prefix` for `PathPrefix`. */
function longer(value: string, names: readonly string[]): string | undefined {
  return value.length < 3 ? undefined : names.find((name) => name.toLowerCase().includes(value.toLowerCase()));
}

const isWithin = (path: Path, outer: Path): boolean => outer.every((step, i) => path[i] === step);

const didYouMean = (near: string): string => `did you mean ${JSON.stringify(near)}?`;
