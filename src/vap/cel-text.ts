import { replaced } from "../cel/tokens.ts";

/** A text as a constant of CEL. */
export function celText(text: string): string {
  const escaped = text
    .replaceAll("\\", "\\\\")
    .replaceAll("'", "\\'")
    .replaceAll("\n", "\\n")
    .replaceAll("\r", "\\r")
    .replaceAll("\t", "\\t");
  return `'${escaped}'`;
}

/** A value as a constant of CEL, in which maps and lists may have values of several types. */
export function celConstant(value: unknown): string {
  if (typeof value === "string") return celText(value);
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (Array.isArray(value)) return `[${value.map(celConstant).join(", ")}]`;
  if (typeof value !== "object" || value === null) return "null";
  const entries = Object.entries(value).map(([name, inner]) => `${celText(name)}: dyn(${celConstant(inner)})`);
  return `{${entries.join(", ")}}`;
}

/**
 * Renames variables in an expression: `params` to `variables.params`. Fields and functions with these names stay. Comments
 * go, because they would hide what is joined to their line.
 */
export function renamed(expression: string, names: Readonly<Record<string, string>>): string {
  const code = (text: string): string =>
    text.replaceAll(/(?<!\.\s*)\b[A-Za-z_]\w*\b(?!\s*\()/g, (name) =>
      Object.hasOwn(names, name) ? (names[name] as string) : name,
    );
  return replaced(expression, { code, comment: () => "" });
}

/** All of the conditions, or any of them. */
export const allOf = (conditions: readonly string[]): string =>
  conditions.length === 0 ? "true" : conditions.map((one) => `(${one})`).join(" && ");
export const anyOf = (conditions: readonly string[]): string =>
  conditions.length === 0 ? "false" : conditions.map((one) => `(${one})`).join(" || ");
