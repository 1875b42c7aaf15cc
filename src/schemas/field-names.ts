const reserved = new Set([
  ...[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
  ],
  ...["loop", "package", "namespace", "return", "var", "void", "while"],
]);

/** How rules write the name of a field (`apiserver/pkg/cel/escaping.go`). */
export function escaped(name: string): string {
  if (reserved.has(name)) return `__${name}__`;
  if (!special.test(name)) return name;
  return name
    .replaceAll("__", "__underscores__")
    .replaceAll(".", "__dot__")
    .replaceAll("-", "__dash__")
    .replaceAll("/", "__slash__");
}

const special = /__|[-./]/;
