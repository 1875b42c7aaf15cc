import assert from "node:assert/strict";
import { test } from "node:test";
import { meshward } from "./terminal.ts";
import { fileWith } from "./written-files.ts";

// What somebody sees who uses a command for the first time, and makes a mistake.

const twoDocuments = fileWith("apiVersion: v1\nkind: Config\n---\napiVersion: v1\nkind: Config\n");
const cases: readonly (readonly [string, RegExp])[] = [
  ["chekc", /^meshward: unknown command 'chekc'\n\(Did you mean check\?\)/],
  ["help nope", /^meshward: unknown command 'nope'\n\(--help lists/],
  ["help chek", /^meshward: unknown command 'chek'; did you mean "check"\?/],
  ["help certs rotat", /^meshward: unknown command 'rotat'; did you mean "rotate"\?/],
  ["explain namespace/a --mehs x", /^meshward: unknown option '--mehs'\n\(Did you mean --mesh\?\)/],
  [
    "explain namespace/a",
    /^meshward: required option '--mesh <path>' not specified: .* folder of manifests, a capture, or the word cluster\n/,
  ],
  ["explain --mesh", /^meshward: option '--mesh <path>' argument missing: .* folder of manifests/],
  ["explain --mesh x", /^meshward: missing required argument 'what': namespace\/payments, /],
  ["can --from outside --mesh x", /^meshward: required option '--to <service>' not specified: api\.payments:8080, /],
  [
    "check x --profile strict --profile observe",
    /^meshward: option '--profile <name>' is given with "strict" and with "observe", and takes one value\n/,
  ],
  [
    "audit --mesh policies/tour --policies /none/a --policies /none/b --policies /none/a",
    /^meshward: --policies \/none\/a --policies \/none\/b has errors, correct them first:\n  \/none\/a: [^\n]*\n  \/none\/b: [^\n]*\n$/,
  ],
  ["check x --format json --format text", /^meshward: option '--format <format>' is given with "json" and with "text"/],
  ["serve --mesh a --mesh b", /^meshward: option '--mesh <path>' is given with "a" and with "b"/],
  [
    "check /none --partial Service --complete Service",
    /^meshward: --partial and --complete contradict each other for Service; give one of the two\n$/,
  ],
  [
    "check /none --kubeconfig x",
    /^meshward: --kubeconfig has no effect, because no cluster is read; add --mesh cluster, or leave it out\n$/,
  ],
  ["audit --mesh /none --context x", /^meshward: --context has no effect, because no cluster is read/],
  ["audit --mesh /none --expires 90d", /^meshward: --expires is about the exceptions of --write-exceptions; give that/],
  [
    "check /none -n Shop",
    /^meshward: option '-n, --namespace <name>' argument 'Shop' is invalid: expected the name of/,
  ],
  [
    "check /none --docs-url docs",
    /^meshward: option '--docs-url <url>' argument 'docs' is invalid: expected a URL such/,
  ],
  [
    "check /none --docs-url javascript:alert(1)",
    /^meshward: option '--docs-url <url>' argument .* expected a URL such/,
  ],
  ["capture", /^meshward: required option '-o, --output <file>' not specified: the file to write/],
  ["completion", /^meshward: missing required argument 'shell': your shell: bash, zsh or fish\n/],
  ["serve --mesh x --port abc", /^meshward: option '--port <number>' argument 'abc' is invalid: expected a port /],
  [
    `doctor --kubeconfig ${twoDocuments}`,
    /^meshward: the kubeconfig .* has several YAML documents, and a kubeconfig is one: correct the path\n$/,
  ],
  [
    "doctor --kubeconfig /none/config",
    /^meshward: --kubeconfig \/none\/config: there is no such file: correct the path\n$/,
  ],
  [
    "demo --policies /none/policies",
    /^meshward: \/none\/policies: there is no such file or folder: correct the path\n$/,
  ],
];
for (const [line, expected] of cases)
  test(`meshward ${line}`, async () => {
    const { code, error, out } = await meshward(line.split(" "));
    assert.equal(code, 2);
    assert.match(error, expected);
    assert.equal(out, "");
  });

test("help of a command, and of a command of a command, is that of --help", async () => {
  for (const [asked, same] of [
    ["help", "--help"],
    ["help check", "check --help"],
    ["help certs rotate", "certs rotate --help"],
  ] as const) {
    const [help, expected] = [await meshward(asked.split(" ")), await meshward(same.split(" "))];
    assert.ok(help.out.length > 100);
    assert.deepEqual(help, expected);
  }
});

test("options that collect values, and the same value again, are taken", async () => {
  const twice = ["--partial", "Service", "--partial", "Gateway", "--group", "a", "--group", "b"];
  const { error } = await meshward(["check", "/none", ...twice, "--format", "json", "--format", "json"]);
  assert.match(error, /^meshward: \/none: there is no such file/);
});
