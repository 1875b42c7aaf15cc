// What the symbolic comparison of policies costs by itself, without a mesh: who gains what by a change of a usual policy.

import type { ObjectOf } from "../../src/kube/object.ts";
import { readAny } from "../../src/kube/object.ts";
import type { Applied } from "../../src/mesh/authorization/requests/applied.ts";
import { Asked, Questions } from "../../src/mesh/authorization/requests/gains.ts";
import { usuallyHarmless } from "../../src/mesh/authorization/requests/strangers.ts";
import { defaultMeshSettings } from "../../src/view/settings.ts";
import { cpuOf, shown, table } from "./measure.ts";
import { authorizationPolicy, team } from "./mesh.ts";

type Policy = ObjectOf<"AuthorizationPolicy">;
type Rule = object;

const namespace = team(0);
const rounds = 9;
const repeat = 60;
const passesToWarmUp = 3;

const rule = (i: number, more: readonly string[] = []): Rule => ({
  from: [{ source: { principals: [`cluster.local/ns/team-${i}/sa/client`, ...more] } }],
  to: [{ operation: { methods: ["GET", "POST"], paths: [`/api/v${i}`, `/api/v${i}/*`] } }],
});
const five = (change: (rule: Rule, i: number) => Rule = (one) => one): readonly Rule[] =>
  Array.from({ length: 5 }, (_, i) => change(rule(i), i));
const third = (changed: Rule) => five((one, i) => (i === 2 ? changed : one));

function read(name: string, spec: object): Policy {
  const object = readAny(authorizationPolicy({ namespace, name }, spec));
  if (object?.kind !== "AuthorizationPolicy") throw new Error("not a policy");
  return object;
}
const allow = (rules: readonly Rule[]): Policy => read("callers", { selector: { matchLabels: { app: "svc" } }, rules });
const deny = (rules: readonly Rule[]): Policy =>
  read("denied", { action: "DENY", selector: { matchLabels: { app: "svc" } }, rules });

interface AskedChange {
  readonly title: string;
  readonly was: () => Policy;
  readonly is: () => Policy;
}
const adminOf = (paths: readonly string[]): Rule => ({
  from: [{ source: { notNamespaces: ["payments"] } }],
  to: [{ operation: { paths } }],
});
const denied = (paths: readonly string[]) => five((one, i) => (i === 2 ? adminOf(paths) : one));

const changes: readonly AskedChange[] = [
  { title: "only a label of the policy changes", was: () => allow(five()), is: () => allow(five()) },
  {
    title: "a caller is added",
    was: () => allow(five()),
    is: () => allow(third(rule(2, ["cluster.local/ns/x/sa/y"]))),
  },
  {
    title: "a path is taken away",
    was: () => allow(five()),
    is: () => allow(third({ ...rule(2), to: [{ operation: { methods: ["GET"], paths: ["/api/v2"] } }] })),
  },
  {
    title: "a rule names nobody any more",
    was: () => allow(five()),
    is: () => allow(third({ to: [{ operation: { paths: ["/api/v2/*"] } }] })),
  },
  { title: "a DENY loses a path", was: () => deny(denied(["/admin", "/admin/*"])), is: () => deny(denied(["/admin"])) },
];

/** All questions about one change of a policy beside a default deny, for one workload. */
function asked(was: readonly Policy[], is: readonly Policy[]): void {
  const questions = new Questions(() => {});
  const sides = new Asked(applied(was), applied(is));
  questions.opened(sides, usuallyHarmless);
  questions.openedToMesh(sides, usuallyHarmless);
  questions.denyLost(sides);
  questions.widened(sides);
}

const applied = (policies: readonly Policy[]): Applied => ({
  place: "http",
  settings: defaultMeshSettings,
  lists: [{ name: "all", policies }],
});

/**
 * The same as in a server that has evaluated reviews before: in the first passes, V8 compiles the code, which takes longer
 * than all questions. Policies that were not seen before cost their first reading too; those of a mesh have been seen in earlier reviews.
 */
export function coreTable(): string {
  const closed = read("deny-all", {});
  const measured = () =>
    changes.map(({ title, was, is }) => {
      const fresh = Array.from(
        { length: (rounds + 1) * repeat },
        () =>
          [
            [closed, was()],
            [closed, is()],
          ] as const,
      );
      const old = [closed, was()];
      const now = Array.from({ length: (rounds + 1) * repeat }, () => [closed, is()]);
      const known = [
        [closed, was()],
        [closed, is()],
      ] as const;
      let [next, another] = [0, 0];
      const cold = cpuOf(() => asked(...(fresh[next++] as (typeof fresh)[number])), { rounds, repeat });
      const usual = cpuOf(() => asked(old, now[another++] as readonly Policy[]), { rounds, repeat });
      const warm = cpuOf(() => asked(...known), { rounds, repeat });
      return [title, shown(cold), shown(usual), shown(warm)];
    });
  for (let pass = 0; pass < passesToWarmUp; pass++) measured();
  const rows = measured();
  const head = [
    "µs of CPU for all questions about one change",
    "both sides new",
    "the changed side new",
    "asked again",
  ];
  return table("A policy of five rules is compared with itself, changed", head, rows);
}
