import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { hanging, wrappedMarkdown } from "../../src/report/page.ts";

const columns = 50;

describe("text on a terminal", () => {
  test("is broken between words, and hangs below where it began", () => {
    const text = hanging("fix: ", "Make the weights of the route sum to 100; give every destination a weight.", {
      columns,
    });
    assert.equal(text, "fix: Make the weights of the route sum to 100;\n     give every destination a weight.");
  });

  test("hangs below another margin, such as the trunk of a tree, which takes room as well", () => {
    const text = hanging("├─ ", "Workloads accept plaintext from everywhere today", { columns }, "│  │ ");
    assert.equal(text, "├─ Workloads accept plaintext from everywhere\n│  │ today");
  });

  test("colours take no room", () => {
    const body = "\u001b[31mMake the weights of the route\u001b[39m sum to 100";
    assert.equal(hanging("fix: ", body, { columns }), `fix: ${body}`);
  });

  test("a word that is longer than a line stays whole", () => {
    assert.equal(hanging("- ", `${"x".repeat(80)} y`, { columns }), `- ${"x".repeat(80)}\n  y`);
  });

  test("stays on one line where there is no terminal", () => {
    const body = "word ".repeat(40);
    for (const page of [{}, { columns: undefined }]) assert.equal(hanging("- ", body, page), `- ${body}`);
  });

  test("on a narrow terminal, the body is below a head that leaves too little room", () => {
    const narrow = { columns: 30 };
    assert.equal(hanging("- ", "a word and another word or two", narrow), "- a word and another word or\n  two");
    assert.equal(
      hanging("a wide head   ", "a word and another word", narrow),
      "a wide head\n    a word and another word",
    );
    const name = "name-of-24-letters-or-so";
    assert.equal(hanging("skipped: ", `${name}, too`, narrow), `skipped:\n    ${name},\n    too`);
  });

  test("of Markdown everything is broken but code", () => {
    const long = "word ".repeat(20).trim();
    const page = ["# Title", "", long, `- ${long}`, "```yaml", long, "```", `| ${long} |`, ""];
    const lines = wrappedMarkdown(page.join("\n"), { columns }).split("\n");
    assert.deepEqual(
      lines.filter((line) => line.length > columns),
      [long],
    );
    assert.equal(lines.filter((line) => line.startsWith("- ")).length, 1);
    assert.equal(lines.filter((line) => line.startsWith("  word")).length, 4);
    assert.equal(lines.join(" ").match(/word/g)?.length, 80);
  });
});
