import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { modesOf } from "../../src/engine/rule.ts";
import { rules } from "../../src/rules/index.ts";
import { meshward } from "./terminal.ts";

describe("rules", () => {
  test("lists every rule with its mode", async () => {
    const { code, out } = await meshward(["rules"]);
    assert.equal(code, 0);
    for (const { id, mode, summary } of rules)
      assert.ok(out.includes(id) && out.includes(modesOf({ mode }).protected) && out.includes(summary), id);
  });

  for (const rule of rules)
    test(`explains ${rule.id} with why, fix and an example`, async () => {
      const { code, out } = await meshward(["rules", rule.id]);
      assert.equal(code, 0);
      for (const part of [`# ${rule.id}`, rule.why, rule.fix, "```yaml", "# <-"]) assert.ok(out.includes(part), part);
    });

  test("an unknown id is one line with the nearest", async () => {
    const { code, error } = await meshward(["rules", "virtual-service-weight-not-100"]);
    assert.equal(code, 2);
    assert.match(error, /^meshward: there is no rule .*did you mean "virtual-service-weights-not-100"\?\n$/);
  });
});

describe("rules are found", () => {
  const idsOf = async (...argv: string[]): Promise<readonly string[]> => {
    const { code, out } = await meshward(["rules", ...argv, "--format", "json"]);
    assert.equal(code, 0);
    return (JSON.parse(out) as { rules: readonly { id: string }[] }).rules.map(({ id }) => id);
  };

  test("by a word of the id or the summary", async () => {
    const { code, out, error } = await meshward(["rules", "WEIGHTS"]);
    assert.deepEqual([code, error], [0, ""]);
    const listed = out.split("\n").slice(0, -3);
    assert.deepEqual(
      listed.map((line) => line.split(" ")[0]),
      rules.filter(({ id, summary }) => /weights/i.test(id + summary)).map(({ id }) => id),
    );
    assert.ok(listed.length > 1);
  });

  test("by several words, which a rule has all, whether or not they are quoted", async () => {
    const found = await idsOf("weights", "canary");
    assert.deepEqual(found, await idsOf("weights canary"));
    assert.deepEqual(found, ["http-route-weights-not-100", "virtual-service-weights-not-100"]);
  });

  test("by what only the reason or the fix says, if no id or summary has it", async () => {
    const found = await idsOf("applyHTTPRouteDestination");
    assert.deepEqual(
      found,
      rules.filter(({ why, fix }) => (why + fix).includes("applyHTTPRouteDestination")).map(({ id }) => id),
    );
    assert.ok(found.length > 0);
  });

  test("by tag", async () => {
    const found = await idsOf("--tag", "canary");
    assert.deepEqual(
      found,
      rules.filter(({ tags }) => tags.includes("canary")).map(({ id }) => id),
    );
    assert.ok(found.length > 0);
  });

  test("by kind, under the names that kubectl accepts, and by everything together", async () => {
    const found = await idsOf("--kind", "virtualservices,gateway");
    assert.deepEqual(
      found,
      rules
        .filter(({ subject }) => subject.includes("VirtualService") || subject.includes("Gateway"))
        .map(({ id }) => id),
    );
    assert.deepEqual(await idsOf("weights", "--kind", "VirtualService", "--tag", "canary"), [
      "virtual-service-weights-not-100",
    ]);
  });

  test("by what somebody sees who is paged, with short words as whole ones", async () => {
    const clusterless = rules.filter(({ incident }) => incident.symptoms.includes("no-cluster")).map(({ id }) => id);
    assert.ok(clusterless.length > 1);
    const found = await idsOf("flag NC");
    assert.deepEqual(
      clusterless.filter((id) => !found.includes(id)),
      [],
    );
    assert.ok(!found.includes("virtual-service-fault-injected"));
    const denied = await idsOf("RBAC: access denied");
    assert.ok(denied.includes("authorization-policy-principal-malformed"));
  });

  test("as JSON, with what a program needs", async () => {
    const { code, out } = await meshward(["rules", "virtual-service-weights-not-100", "--format", "json"]);
    assert.equal(code, 0);
    const [rule, ...others] = (JSON.parse(out) as { rules: readonly Record<string, unknown>[] }).rules;
    assert.deepEqual(others, []);
    const { why, fix, summary, parameters, incident, ...rest } = rule ?? {};
    for (const text of [why, fix, summary]) assert.equal(typeof text, "string");
    assert.deepEqual(Object.keys(parameters as object), ["stable"]);
    assert.deepEqual(incident, rules.find(({ id }) => id === "virtual-service-weights-not-100")?.incident);
    assert.deepEqual(rest, {
      id: "virtual-service-weights-not-100",
      mode: { protected: "deny", elsewhere: "deny" },
      kinds: ["VirtualService"],
      tags: ["canary"],
      since: "0.1.0",
      page: "https://github.com/meshward/meshward/blob/main/policies/rules/virtual-service-weights-not-100.md",
    });
    assert.deepEqual(
      await idsOf(),
      rules.map(({ id }) => id),
    );
  });

  test("also among the rules that policies define", async () => {
    const policies = ["--policies", "policies/examples/online-shop/policies"];
    assert.deepEqual(await idsOf("route", "no timeout", ...policies), ["shop-rules/timeout-missing"]);
    const { out } = await meshward(["rules", "shop-rules/timeout-missing", "--format", "json", ...policies]);
    const [rule] = (JSON.parse(out) as { rules: readonly Record<string, unknown>[] }).rules;
    assert.equal(rule?.["definedBy"], "MeshwardPolicy shop-rules");
    assert.equal(rule["since"], undefined);
    assert.match(String(rule["page"]), /\/policies\/custom-rules\.md$/);
  });

  const refused: readonly (readonly [string[], RegExp])[] = [
    [["zzz"], /^meshward: there is no rule "zzz": run meshward rules to see them all\n$/],
    [["zzz", "yyy"], /^meshward: no rule matches "zzz yyy": run meshward rules/],
    [
      ["--tag", "canarry"],
      /^meshward: --tag: no rule has the tag "canarry"; did you mean "canary"\?; tags are .*canary/,
    ],
    [["--kind", "VirtualServise"], /no rule reads the kind "VirtualServise"; did you mean "VirtualService"\?/],
    [
      ["--kind", "Telemetry", "--tag", "canary"],
      /^meshward: no rule has the tag "canary" and checks Telemetry: run meshward rules/,
    ],
    [["weights", "--kind", "Telemetry"], /^meshward: no rule checks Telemetry and matches "weights": run/],
    [["weights", "--format", "yaml"], /--format.*text, json/],
  ];
  for (const [argv, message] of refused)
    test(`rules ${argv.join(" ")} is one sentence and no empty list`, async () => {
      const { code, out, error } = await meshward(["rules", ...argv]);
      assert.deepEqual([code, out], [2, ""]);
      assert.match(error, message);
    });
});

test("ids are sorted, unique, and every rule says what it is", () => {
  const ids = rules.map(({ id }) => id);
  assert.deepEqual(ids, [...new Set(ids)].sort());
  for (const { id, summary, why, fix } of rules) {
    assert.match(id, /^[a-z]+(-[a-z0-9]+)+$/);
    for (const text of [summary, why, fix]) assert.match(text, /^[A-Z].*\.$/s, id);
  }
});

test("commands and options that are not there are named with the nearest", async () => {
  const unknown = await meshward(["chekc"]);
  assert.deepEqual([unknown.code, /Did you mean check/.test(unknown.error)], [2, true]);
  const option = await meshward(["check", "-", "--complet", "Service"]);
  assert.deepEqual([option.code, /--complete/.test(option.error)], [2, true]);
  const help = await meshward(["--help"]);
  assert.equal(help.code, 0);
  for (const command of ["serve", "check", "rules", "demo"]) assert.match(help.out, new RegExp(`^  ${command}`, "m"));
});
