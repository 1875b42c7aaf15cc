import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { impossibleNames } from "../../src/policy/impossible-names.ts";

const found = (spec: unknown) =>
  impossibleNames({ spec }).map(({ message }) => message.replace(/: at most.*|: a key.*/, ""));
const inMatch = (...names: readonly string[]) => found({ match: { namespaces: { names } } });

describe("names that no object can have", () => {
  for (const name of ["shop", "team-*", "*", "*-prod", "a*b", "0a", "a".repeat(63), "kube-*-system"])
    test(`${name} is possible`, () => assert.deepEqual(inMatch(name), []));
  for (const name of [
    "Shop",
    "team_a",
    "Team-*",
    "shop/cart",
    "a.b",
    "-a",
    "a-",
    " shop",
    "a".repeat(64),
    "team-?",
    "[ab]*",
  ])
    test(`${name} is not`, () =>
      assert.deepEqual(inMatch("shop", name), [
        `spec.match.namespaces.names[1]: no namespace can have the name ${JSON.stringify(name)}`,
      ]));

  test("objects may have dots and long names", () => {
    assert.deepEqual(found({ match: { objects: { names: ["v1.apps", "a".repeat(253), "a*.b"] } } }), []);
    assert.deepEqual(found({ match: { objects: { names: ["Cart"] } } }), [
      'spec.match.objects.names[0]: no object can have the name "Cart"',
    ]);
  });

  test("the waypoint of an enrollment is the name of a Gateway that fits into a label", () => {
    const of = (useWaypoint: string) => found({ mutations: { namespaceAmbientEnrollment: { useWaypoint } } });
    for (const name of ["waypoint", "none", "a.b"]) assert.deepEqual(of(name), []);
    for (const name of ["Bad Name", "a".repeat(64), "way*"])
      assert.match(of(name).join(), /namespaceAmbientEnrollment\.useWaypoint: no waypoint can have the name/);
  });

  test("the document itself", () => {
    const of = (metadata: unknown) =>
      impossibleNames({ metadata, spec: {} }).map(({ message }) => message.split(":")[0]);
    assert.deepEqual(of({ name: "a.b-c", namespace: "shop" }), []);
    assert.deepEqual(of({ name: "A_b", namespace: "Shop" }), ["metadata.name", "metadata.namespace"]);
    assert.deepEqual(of({ name: "a*" }), ["metadata.name"]);
  });

  test("what a template leaves is said to be one", () => {
    const match = { namespaces: { names: ["{{ .Values.ns }}"], labels: { tier: "${TIER}" } } };
    const problems = impossibleNames({ metadata: { name: "{{ .Release.Name }}" }, spec: { match } });
    assert.equal(problems.length, 3);
    for (const { message } of problems) assert.match(message, /; if this is a template, render it first$/);
  });

  test("a policy is in no namespace, wherever somebody puts it", () => {
    const of = (kind: string, metadata: unknown) => impossibleNames({ kind, metadata, spec: {} });
    const [problem, ...others] = of("MeshwardPolicy", { name: "a", namespace: "shop" });
    assert.deepEqual([problem?.at, others], [["metadata", "namespace"], []]);
    assert.match(
      problem?.message ?? "",
      /applies to the whole cluster; remove "shop", .*spec\.match\.namespaces\.names$/,
    );
    assert.deepEqual(of("MeshwardPolicy", { name: "a", namespace: "" }), []);
    assert.deepEqual(of("MeshwardException", { name: "a", namespace: "shop" }), []);
  });

  test("labels", () => {
    const labels = { "team.example.com/tier": "gold", a: "", "A_b.c": "x.y_z-1" };
    assert.deepEqual(found({ match: { namespaces: { labels } } }), []);
    assert.deepEqual(
      found({
        match: { namespaces: { labels: { "a/b/c": "x", "Team/a": "x" } }, objects: { labels: { tier: "go*" } } },
        protectedNamespaces: { labels: { tier: "two words" } },
      }),
      [
        'spec.match.namespaces.labels["a/b/c"]: no namespace can have the label "a/b/c"',
        'spec.match.namespaces.labels["Team/a"]: no namespace can have the label "Team/a"',
        'spec.match.objects.labels.tier: no label can have the value "go*"',
        'spec.protectedNamespaces.labels.tier: no label can have the value "two words"',
      ],
    );
  });

  test("owners of hosts, enrollment, and documents of any shape", () => {
    assert.deepEqual(
      found({
        hostOwners: [{ namespaces: ["shop"] }, { namespaces: ["Shop"] }],
        mutations: { namespaceAmbientEnrollment: { except: ["Kube"] } },
      }),
      [
        'spec.mutations.namespaceAmbientEnrollment.except[0]: no namespace can have the name "Kube"',
        'spec.hostOwners[1].namespaces[0]: no namespace can have the name "Shop"',
      ],
    );
    for (const raw of [
      null,
      3,
      [],
      { spec: 3 },
      { spec: { match: { namespaces: { names: 3, labels: [] } }, hostOwners: {} } },
    ])
      assert.deepEqual(impossibleNames(raw), []);
  });
});
