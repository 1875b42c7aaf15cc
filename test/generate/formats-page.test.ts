import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { root } from "../../src/generate/files.ts";
import { outputShapes } from "../../src/generate/formats-page.ts";
import { jsonShapes, type Shape } from "../../src/generate/json-shapes.ts";
import { meshward } from "../cli/terminal.ts";
import { temporaryFolder } from "../contract/api-server.ts";

const shapes = new Map(outputShapes(root).found.map((shape) => [shape.name, shape]));
const tour = "policies/tour";
const strict = "policies/tour/4-deny-all/03-allow-all.yaml";

/** Where a value is not what its documented type says: `Report.findings[0].mode`. */
function violations(value: unknown, type: string, path: string): readonly string[] {
  const entry = /^\((.*)\)\[\]$/.exec(type)?.[1] ?? (type.includes(" | ") ? undefined : /^(.*)\[\]$/.exec(type)?.[1]);
  if (entry !== undefined) return violationsOfList(value, entry, path);
  if (type.startsWith("{")) return typeof value === "object" ? [] : [`${path} is no object`];
  const alternatives = type.split(" | ");
  if (alternatives.length === 1) return violationsOfOne(value, type, path);
  const found = alternatives.map((one) => violations(value, one, path));
  return found.some((one) => one.length === 0) ? [] : found.flat();
}

function violationsOfList(value: unknown, entry: string, path: string): readonly string[] {
  if (!Array.isArray(value)) return [`${path} is no list`];
  return value.flatMap((one, i) => violations(one, entry, `${path}[${i}]`));
}

function violationsOfOne(value: unknown, type: string, path: string): readonly string[] {
  const shape = shapes.get(type);
  if (shape !== undefined) return violationsOfShape(value, shape, path);
  return [typeof value, JSON.stringify(value)].includes(type)
    ? []
    : [`${path}: ${JSON.stringify(value)} is not ${type}`];
}

function violationsOfShape(value: unknown, { name, fields }: Shape, path: string): readonly string[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return [`${path} is no ${name}`];
  const known = new Set(fields.map((field) => field.name));
  const unknown = Object.keys(value).filter((key) => !known.has(key));
  return [
    ...unknown.map((key) => `${path}.${key} is not documented`),
    ...fields.flatMap((field) => {
      const inner = Object.getOwnPropertyDescriptor(value, field.name)?.value as unknown;
      if (inner === undefined) return field.isOptional ? [] : [`${path}.${field.name} is missing`];
      return violations(inner, field.type, `${path}.${field.name}`);
    }),
  ];
}

async function output(argv: readonly string[]): Promise<unknown> {
  const { out, error } = await meshward([...argv, "--format", "json"]);
  assert.notEqual(out, "", error);
  return JSON.parse(out);
}

describe("output in JSON has the documented fields, and no others", () => {
  const commands: readonly (readonly [shape: string, argv: readonly string[]])[] = [
    [
      "Report",
      ["check", "--mesh", tour, "--delete", strict, "--connections", "policies/tour/3-strict/02-permissive.yaml"],
    ],
    ["Report", ["check", "--policies", "policies/examples", tour]],
    ["Report", ["audit", "--mesh", tour, "--namespace", "payments"]],
    ["WhatIf", ["audit", "--mesh", tour, "--what-if", "strict"]],
    ["ReportedExplanation", ["explain", "namespace/payments", "--mesh", tour]],
    ["ReportedExplanation", ["explain", "host", "checkout.shop", "--mesh", tour]],
    ["ReportedDifference", ["explain", "namespace/payments", "--mesh", tour, "--delete", strict]],
    ["ReportedAnswer", ["can", "--from", "namespace/shop", "--to", "api.payments:80", "--mesh", tour]],
    ["Connections", ["connections", "--mesh", tour]],
    ["ConnectionChanges", ["connections", "--mesh", tour, "--delete", strict]],
    ["TestReport", ["test", "policies/examples/online-shop"]],
    ["ListedRules", ["rules"]],
  ];
  for (const [name, argv] of commands)
    test(`meshward ${argv.join(" ")}`, async () => {
      assert.deepEqual(violations(await output(argv), name, name), []);
    });

  test("meshward audit --diff", async (context) => {
    const folder = temporaryFolder(context);
    const reports = [tour, "policies/examples/online-shop"].map(async (mesh, i) => {
      const file = join(folder, `${i}.json`);
      writeFileSync(file, JSON.stringify(await output(["audit", "--mesh", mesh])));
      return file;
    });
    const difference = await output(["audit", "--diff", ...(await Promise.all(reports))]);
    assert.deepEqual(violations(difference, "ReportDifference", "ReportDifference"), []);
  });
});

describe("the interfaces of output", () => {
  const folder = mkdtempSync(join(tmpdir(), "meshward-shapes-"));
  after(() => rmSync(folder, { recursive: true }));
  const read = (source: string) => {
    writeFileSync(join(folder, "one.ts"), source);
    return jsonShapes(folder, ["one.ts"], ["One"]);
  };

  test("are read with the fields of those that they extend", () => {
    const { found, faults } = read(`interface Base {
  /** A name. */
  readonly name: string;
}

type Mark = "-" | "+";

/** One of
 * them. */
export interface One extends Base {
  /** More. */
  readonly marks?: readonly Mark[];
  readonly version: 1;
}
`);
    assert.deepEqual(faults, []);
    assert.deepEqual(found, [
      {
        name: "One",
        meaning: "One of them.",
        fields: [
          { name: "name", isOptional: false, type: "string", meaning: "A name." },
          { name: "marks", isOptional: true, type: '("-" | "+")[]', meaning: "More." },
          { name: "version", isOptional: false, type: "1", meaning: undefined },
        ],
      },
    ]);
  });

  test("are faults without comments, with objects without a name, and if they are not there", () => {
    const { faults } = read(`export interface One {
  readonly name: string;
  /** Inner. */
  readonly inner: { readonly a: string };
  /** Other. */
  readonly other: Elsewhere;
}
`);
    assert.equal(faults.length, 4);
    for (const part of [
      /One has no comment/,
      /One\.name has no comment/,
      /an object without a name/,
      /interface Elsewhere/,
    ])
      assert.ok(
        faults.some((fault) => part.test(fault)),
        String(part),
      );
  });
});
