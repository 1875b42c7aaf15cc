import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { loadPolicies } from "../../src/policy/load.ts";
import { lossesOf } from "../../src/policy/losses.ts";
import { rules as builtIn } from "../../src/rules/index.ts";
import { keptFieldsOf, kindsWithMore, rulesInForce } from "../../src/custom-rules/in-force.ts";
import { loaded, policiesIn, policyWith, rawsIn } from "./custom.ts";

const errorsOf = (text: string) => loaded(text).errors.map(({ message }) => message);
const document = (name: string, spec: string) => `---
apiVersion: meshward.io/v1alpha1
kind: MeshwardPolicy
metadata: {name: ${name}}
spec: ${spec}
`;

describe("what is wrong with a rule is said with its place", () => {
  for (const [fields, message] of [
    [
      "kinds: [VirtualServce], expression: 'true'",
      /customRules\[0\]\.kinds\[0\]: there is no kind "VirtualServce" that Meshward reads; did you mean "VirtualService"\?/,
    ],
    ["kinds: [Lease], expression: 'true'", /there is no kind "Lease" that Meshward reads/],
    ["kinds: [ConfigMap], expression: 'true'", /there is no kind "ConfigMap"/],
    [
      "kinds: [Gateway], expression: 'true'",
      /several groups; write Gateway\.gateway\.networking\.k8s\.io or Gateway\.networking\.istio\.io/,
    ],
    ["kinds: [], expression: 'true'", /kinds: is empty/],
    [
      "kinds: [Service], expression: 'object.spec.port == 1'",
      /expression: spec has no field port: did you mean "ports"\? \(line 1, column 12 of the expression\)/,
    ],
    [
      "kinds: [Service, Deployment], expression: 'object.spec.ports.size() > 0'",
      /spec has no field ports.* \(for Deployment\)/,
    ],
    ["kinds: [Service], expression: 'object.spec.ports'", /it results in list of object; expected bool/],
    ["kinds: [Service], expression: '1 +'", /syntax error/],
    [
      "kinds: [Service], expression: 'object.spec.ports.all(p.port > 1)'",
      /expression: all\(\) is written list\.all\(item, condition\) \(line 1, column 18[^;]*$/,
    ],
    ["kinds: [Service], expression: 'has(true)'", /has\(\) is written has\(object\.field\)/],
    [
      "kinds: [Service], expression: 'object.spec.ports.filter(p, p.port).size() > 0'",
      /the condition of a macro has type int; expected bool/,
    ],
    [
      "kinds: [Service], expression: 'object.metadata.name = \"a\"'",
      /cannot be read from "= \\"a\\"" on; write == to compare/,
    ],
    ["kinds: [Service], expression: 'true and false'", /write && for and/],
    ["kinds: [Service], expression: 'true or false'", /write \|\| for or/],
    ["kinds: [Service], expression: 'not true'", /write ! for not/],
    ['kinds: [Service], expression: \'"a" not in ["b"]\'', /write !\(a in b\) for not in/],
    ["kinds: [Service], expression: 'object.metadata.name == \"a'", /a text does not end: close its quote/],
    ["kinds: [Service], expression: 'object.metadata.name == \"a\\\"'", /a text does not end: close its quote/],
    ["kinds: [Service], expression: 'true ? 1 : \"a\"'", /\?: has an int and a string; both must be of one type/],
    [
      "kinds: [Service], expression: '1 / 0 == 1'",
      /it ends in an error for every object: int divide by zero \(line 1, column 1 of the expression\)$/,
    ],
    [
      "kinds: [Service], expression: 'params.max > 1', parameters: {most: 1}",
      /params has no field max; known are most/,
    ],
    ["kinds: [Service], expression: 'params.max > 1'", /params has no field max; it has none/],
    [
      "kinds: [Service], expression: 'true', messageExpression: '1'",
      /messageExpression: it results in int; expected string/,
    ],
    [
      "kinds: [Service], expression: 'mesh.mtlsMode(object) == \"STRICT\"'",
      /mesh\.mtlsMode\(object\) is defined for workloads \(such as Deployment\) and Namespace/,
    ],
    [
      "kinds: [Service], expression: 'mesh.deniesByDefault(object)'",
      /use mesh\.deniesByDefault\(object\.metadata\.namespace\)/,
    ],
    ["kinds: [Deployment], expression: 'mesh.mtlsMode(oldObject) == \"\"'", /takes only the variable object itself/],
    [
      "kinds: [Deployment], expression: 'mesh.mtlsMode(object) == \"strict\"'",
      /what is compared with "strict" is always one of "STRICT", .*: did you mean "STRICT"\? \(line 1, column 26/,
    ],
    [
      "kinds: [DestinationRule], expression: 'object.spec.trafficPolicy.tls.mode != \"MUTAL\"'",
      /what is compared with "MUTAL" is always one of .*: did you mean "MUTUAL"\?/,
    ],
    [
      "kinds: [VirtualService], expression: 'mesh.destinationRule(object.spec.hosts[0]).tsl == \"\"'",
      /the result of mesh\.destinationRule\(\) has no field tsl: did you mean "tls"\?/,
    ],
    [
      "kinds: [VirtualService], expression: 'mesh.routes(object.spec.hosts[0])[0].weight == 1.0'",
      /a result of mesh\.routes\(\) has no field weight; known are host, subset, share/,
    ],
    ["kinds: [VirtualService], expression: 'request.operation == \"create\"'", /did you mean "CREATE"\?/],
    [
      "kinds: [VirtualService], expression: 'request.operation != \"DELETE\"'",
      /"DELETE" is always one of "CREATE", "UPDATE": rules of policies are not asked about deletions \(line 1, column 22/,
    ],
    [
      'kinds: [VirtualService], expression: \'request.operation in ["DELETE", "CONNECT"]\'',
      /rules of policies are not asked about deletions/,
    ],
    ['kinds: [VirtualService], expression: \'request.operation in ["CREATE", "DELET"]\'', /"DELET" is always one of/],
    ["kinds: [VirtualService], expression: '\"DELETE\" == request.operation'", /not asked about deletions/],
    ["kinds: [Deployment], expression: 'mesh.mtls(object) == \"\"'", /there is no function mesh\.mtls\(\)/],
    ["kinds: [Deployment], expression: 'request.user == \"\"'", /request has no field user/],
    ["kinds: [Deployment], expression: 'namespaceObject.spec == null'", /namespaceObject has no field spec/],
    ["kinds: [Deployment], expression: 'params.a == 1'", /params has no field a/],
    [
      "kinds: [Deployment], expression: 'true', parameters: {a-b: 1}",
      /parameters\.a-b: expected a name of letters and digits/,
    ],
    ["kinds: [Deployment], expression: 'true', parameters: {a: {b: 1}}", /parameters\.a: expected .* found an object/],
    ["kinds: [Deployment], expression: 'true', parameters: {request: x}", /parameters\.request: expected a name/],
    ["kinds: [Deployment], expression: 'true', mode: dney", /mode: expected one of .*; did you mean "deny"\?/],
    [
      "kinds: [Deployment], expresion: 'true'",
      /there is no such field; did you mean "expression"\?|expression is missing/,
    ],
    ["kinds: [Deployment], expression: ''", /expression: is empty/],
    [`kinds: [Deployment], expression: '${"a".repeat(10_001)}'`, /expected at most 10000 characters/],
    ["kinds: [Deployment], expression: 'authorizer.group(\"\").allowed()'", /there is no variable authorizer/],
    ["kinds: [Deployment], expression: 'variables.x'", /there is no variable variables/],
  ] as const)
    test(fields.slice(0, 100), () => assert.match(errorsOf(policyWith(fields)).join("\n"), message));

  test("a list of operations may name deletions beside an operation that rules are asked about", () => {
    const all = `request.operation in ["CREATE", "UPDATE", "DELETE"]`;
    assert.deepEqual(errorsOf(policyWith(`kinds: [Service], expression: '${all}'`)), []);
  });

  test("what is wrong with the document besides hides no problem of an expression", () => {
    const rule = (id: string, expression: string, more = "") =>
      `{id: ${id}, kinds: [Service], message: m, expression: '${expression}'${more}}`;
    const rules = [
      rule("a", "object.spec.port == 1"),
      rule("b", "object.spec.port == 2", ", mode: denied"),
      rule("b", "object.spec.port == 3"),
      "7",
      rule("c", "size("),
      rule("d", "true"),
    ];
    assert.deepEqual(
      errorsOf(document("own", `{modus: x, customRules: [${rules.join()}]}`)).map((message) =>
        message
          .replace(/^MeshwardPolicy own is not in force: /, "")
          .replace(/[;:] (?:found|did you|expected|known).*$/, ""),
      ),
      [
        "spec.modus: there is no such field",
        "spec.customRules[0].expression: spec has no field port",
        "spec.customRules[1].mode",
        "spec.customRules[2].id: b is in spec.customRules[1] already; rename one of the two",
        "spec.customRules[3]",
        'spec.customRules[4].expression: syntax error: it cannot be read from "(" on; ( is not closed at the end (line 1, column 5 of the expression)',
      ],
    );
    assert.match(errorsOf(document("own", "{modus: x, customRules: {}}")).join("\n"), /customRules: expected a list/);
    assert.match(errorsOf(document("own", "{modus: x, customRules: }")).join("\n"), /customRules: expected a list/);
  });

  test("ids: of one document, of built-in rules, and names in settings and exceptions", () => {
    const twice = document(
      "own",
      "{customRules: [{id: a, kinds: [Service], expression: 'true', message: m}, {id: a, kinds: [Service], expression: 'true', message: m}]}",
    );
    assert.match(
      errorsOf(twice).join(),
      /customRules\[1\]\.id: a is in spec\.customRules\[0\] already; rename one of the two/,
    );
    const builtInId = document(
      "own",
      "{customRules: [{id: virtual-service-weights-not-100, kinds: [Service], expression: 'true', message: m}]}",
    );
    // The name of the policy is part of the id, so this is another rule.
    assert.deepEqual(
      policiesIn(builtInId).customRules.map(({ id }) => id),
      ["own/virtual-service-weights-not-100"],
    );
    const right = policyWith("kinds: [Service], expression: 'true', parameters: {most: 1}");
    for (const [spec, message] of [
      [
        "{rules: [{id: own/rul, mode: deny}]}",
        /spec\.rules\[0\]\.id: there is no rule "own\/rul"; did you mean "own\/rule"\?/,
      ],
      ["{rules: [{id: nothing/at-all, mode: deny}]}", /no policy in force defines it/],
      ["{rules: [{id: own/rule, parameters: {mots: 2}}]}", /no such parameter for own\/rule; did you mean "most"\?/],
      ["{rules: [{id: own/rule, parameters: {most: a}}]}", /expected a number, found "a"/],
      ["{rules: [{id: Own/Rule, mode: deny}]}", /spec\.rules\[0\]\.id: there is no rule "Own\/Rule"/],
    ] as const)
      assert.match(errorsOf(`${right}${document("other", spec)}`).join(), message, spec);
    assert.deepEqual(errorsOf(`${right}${document("other", "{rules: [{id: own/rule, parameters: {most: 2}}]}")}`), []);
    const [ofOwn] = policiesIn(right).customRules;
    assert.ok(ofOwn);
    assert.deepEqual(
      policiesIn(`${right}${document("other", "{rules: [{tag: custom, mode: audit}]}")}`)
        .entriesFor(ofOwn)
        .map(({ title, value }) => [title, value.mode]),
      [
        ["MeshwardPolicy own", "warn"],
        ["MeshwardPolicy other", "audit"],
      ],
    );
    const exception = (rule: string) => `---
apiVersion: meshward.io/v1alpha1
kind: MeshwardException
metadata: {name: e, namespace: shop}
spec: {rules: [${rule}], reason: r, owner: o, expiresAt: "2999-01-01T00:00:00Z"}
`;
    assert.match(errorsOf(`${right}${exception("own/rul")}`).join(), /did you mean "own\/rule"\?/);
    assert.deepEqual(errorsOf(`${right}${exception("own/rule")}`), []);
  });

  test("without a compiler, a document with rules of its own is not in force", () => {
    const sources = rawsIn(policyWith("kinds: [Service], expression: 'true'")).map((raw) => ({
      raw,
      file: "f",
      locate: () => ({ line: 1, column: 1 }),
    }));
    assert.match(loadPolicies(sources, builtIn).errors[0]?.message ?? "", /rules cannot be defined here/);
  });
});

test("any text is a rule or an error of one line, and nothing throws", () => {
  const piece = fc.constantFrom(
    ...[
      "object",
      ".spec",
      ".http",
      "[0]",
      "(",
      ")",
      ".all(",
      "x,",
      " x",
      " == ",
      " && ",
      "'a'",
      "1",
      "1.5",
      "mesh.",
      "mtlsMode(",
      "dyn(",
      "?",
      ":",
      "!",
      "-",
      "{",
      "}",
      "'a': ",
      "[",
      "]",
      "\n",
      "in ",
      "has(",
      "@result",
      "//c\n",
      "b'x'",
      "\\u0000",
      "💥",
      "request",
      "oldObject",
      ".size()",
      "matches('(')",
    ],
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 14 }), (pieces) => {
      const { errors, policies } = loaded(
        policyWith(`kinds: [VirtualService], expression: ${JSON.stringify(pieces.join(""))}`),
      );
      assert.equal(errors.length > 0, policies.customRules.length === 0);
      for (const { message } of errors) assert.doesNotMatch(message, /\n/);
    }),
    { numRuns: 500 },
  );
});

describe("sets of rules", () => {
  test("a thousand rules are one document; one more is refused", () => {
    const many = (count: number) =>
      document(
        "own",
        `{customRules: [${Array.from({ length: count }, (_, i) => `{id: r${i}, kinds: [Service], expression: 'object.spec.ports.size() < ${i}', message: m}`).join()}]}`,
      );
    assert.equal(policiesIn(many(1_000)).customRules.length, 1_000);
    assert.match(errorsOf(many(1_001)).join(), /has 1001 entries; at most 1000 are possible/);
  });

  test("the list of rules is the same as long as the policies are, and the built-in list without rules of one's own", () => {
    const [own, none] = [
      policiesIn(policyWith("kinds: [Service], expression: 'true'")),
      policiesIn(document("a", "{protectedNamespaces: {names: [a]}}")),
    ];
    assert.equal(rulesInForce(builtIn, own), rulesInForce(builtIn, own));
    assert.equal(rulesInForce(builtIn, own).at(-1)?.id, "own/rule");
    assert.equal(rulesInForce(builtIn, none), builtIn);
    assert.equal(keptFieldsOf(rulesInForce(builtIn, none)).size, 0);
  });

  test("fields are kept for the kinds of the rules only, and more only where they name more", () => {
    const keptBy = (...expressions: string[]) =>
      keptFieldsOf(
        rulesInForce(
          builtIn,
          policiesIn(
            document(
              "own",
              `{customRules: [${expressions.map((text, i) => `{id: r${i}, kinds: [Service], expression: ${JSON.stringify(text)}, message: m}`).join()}]}`,
            ),
          ),
        ),
      );
    const one = keptBy("object.spec.type == 'a'");
    assert.deepEqual([...one.keys()], ["Service"]);
    assert.deepEqual(kindsWithMore(one, keptBy("object.spec.type == 'b'")), []);
    assert.deepEqual(kindsWithMore(one, keptBy("object.spec.type == 'a'", "has(object.spec.clusterIP)")), ["Service"]);
    assert.deepEqual(kindsWithMore(new Map(), one), ["Service"]);
  });

  test("a policy that is gone took its rule with it, which is a loss", () => {
    const before = policiesIn(policyWith("kinds: [Service], expression: 'true', mode: deny"));
    const after = policiesIn(document("a", "{protectedNamespaces: {names: [a]}}"));
    const off = { protected: "off", elsewhere: "off" } as const;
    assert.match(
      lossesOf(before, after, [{ id: "own/rule", mode: off }]).join(),
      /own\/rule: mode is off, and was deny/,
    );
  });
});
