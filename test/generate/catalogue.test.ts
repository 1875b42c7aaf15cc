import assert from "node:assert/strict";
import test from "node:test";
import { defineRule } from "../../src/engine/rule.ts";
import { findObjectFunctions, functionsIn } from "../../src/generate/catalogue-functions.ts";
import { cataloguePage, findReadable, readableFaults } from "../../src/generate/catalogue.ts";
import { root } from "../../src/generate/files.ts";
import { findRules } from "../../src/generate/rule-files.ts";
import { fact, index, relation } from "../../src/view/view.ts";

const servers = relation(
  "servers",
  index("Gateway", () => []),
  index("Workload", () => []),
);
const depth = fact("depth", "Gateway", [servers], () => 1);
const openness = fact("openness", "Gateway", [depth], () => 2);
const rule = defineRule({
  id: "gateway-closed",
  subject: "Gateway",
  reads: [openness],
  mode: "warn",
  since: "0.1.0",
  summary: "",
  why: "",
  fix: "",
  check: () => [],
});
const found = [{ rule, file: "src/rules/gateway/closed.ts", name: "gatewayClosed" }];
const file = "src/mesh/gateways.ts";

test("what a rule reads through facts counts as read by it", () => {
  const page = cataloguePage(
    [
      { value: servers, file, summary: "A Gateway and its pods." },
      { value: openness, file, summary: "How open it is." },
    ],
    found,
    [],
  );
  const gateway = page.split("## Gateway\n")[1]?.split("\n## ")[0] ?? "";
  const readBy = `  Declared in [${file}](../${file}); read by [gateway-closed](../policies/rules/gateway-closed.md).`;
  assert.deepEqual(gateway.trim().split("\n"), [
    "Relations:",
    "",
    "- `servers` to Workload: A Gateway and its pods.",
    readBy,
    "",
    "Facts:",
    "",
    "- `openness`: How open it is.",
    readBy,
  ]);
});

test("a kind from which nothing leads on says so", () => {
  assert.match(cataloguePage([], found, []), /## Gateway\n\nIts own fields only\.\n/);
});

test("functions that need one object and no mesh are listed with what else they take", () => {
  const text = `import { x } from "y";
/**
 * Whether it is open (Istio a/b.go c). More.
 */
export const isOpen = ({ spec }: Gateway): boolean => spec.servers.length > 0;
export function portsOf(gateway: Gateway, sort: (one: number, other: number) => number, limit = 3): readonly number[] {}
/** Hosts. */
export function hostsIn<T extends string>(
  { metadata, spec }: ObjectOf<"Gateway">,
  settings: MeshSettings,
): readonly T[] {}
/** Needs the mesh. */
export const podsOf = (gateway: Gateway, mesh: MeshView<typeof servers>): number => 1;
export const all = (gateways: readonly Gateway[]): number => 1;
const own = (gateway: Gateway): number => 1;
`;
  const functions = functionsIn(text, file);
  assert.deepEqual(
    functions.map(({ name, kind, others, summary }) => [name, kind, others, summary]),
    [
      ["isOpen", "Gateway", [], "Whether it is open (Istio a/b.go c)."],
      ["portsOf", "Gateway", ["sort: (one: number, other: number) => number", "limit"], undefined],
      ["hostsIn", "Gateway", ["settings: MeshSettings"], "Hosts."],
    ],
  );
  const page = cataloguePage([], found, functions);
  assert.match(page, /## Gateway\n\nFunctions:\n\n- `isOpen\(gateway\)`: Whether it is open/);
});

test("the functions of a VirtualService are found", () => {
  const names = findObjectFunctions(root).flatMap(({ name, kind }) => (kind === "VirtualService" ? [name] : []));
  for (const name of ["hostsOf", "gatewaysOf", "trafficOf", "isDelegate"]) assert.ok(names.includes(name), name);
});

test("what nobody could describe is a fault", () => {
  const faults = readableFaults([
    { value: servers, file: undefined, summary: undefined },
    { value: depth, file, summary: undefined },
    { value: openness, file, summary: "How open it is." },
  ]);
  assert.deepEqual(faults, [
    'the relation "servers" must be declared as const servers = relation(...).',
    "src/mesh/gateways.ts: depth needs a comment above it that starts with one sentence.",
  ]);
});

test("what src/mesh exports is found, and what a rule keeps to itself, with its comment", async () => {
  const { found: all } = await findRules(root);
  const readable = new Map((await findReadable(root, all)).map((entry) => [entry.value.name, entry]));
  assert.equal(readable.get("gatewaysOfNamespace")?.file, "src/mesh/membership/gateways.ts");
  assert.deepEqual(readable.get("servicesTargetedByPolicy"), {
    value: readable.get("servicesTargetedByPolicy")?.value,
    file: "src/rules/authorization-policy/target-not-found.ts",
    summary: "A policy and the Services of its namespace that it targets.",
  });
  assert.deepEqual([...readable.keys()], [...readable.keys()].sort());
});
