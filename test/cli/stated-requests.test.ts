import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import type { TestReport } from "../../src/report/test-report.ts";
import { changes, intents, type Raw, world } from "../intents/story.ts";
import { elementsOf } from "../report/xml.ts";
import { meshward } from "./terminal.ts";

// Tests of policies that state requests and what becomes of them, in the words of an intent.

const root = mkdtempSync(join(tmpdir(), "meshward-stated-requests-"));
after(() => rmSync(root, { recursive: true }));
const written = (name: string, value: unknown): string => {
  writeFileSync(join(root, name), JSON.stringify(value));
  return name;
};
const list = (items: readonly Raw[]) => ({ apiVersion: "v1", kind: "List", items });
const mesh = [written("mesh.json", list(world))];
const policies = [written("intents.json", list(intents))];
let files = 0;

async function tested(file: Raw, format = "json") {
  const name = written(`${files++}.meshward-test.json`, { profile: "observe", mesh, ...file });
  return meshward(["test", join(root, name), "--format", format]);
}
async function reportOf(file: Raw): Promise<TestReport> {
  return JSON.parse((await tested(file)).out) as TestReport;
}
const differencesIn = ({ files: all }: TestReport) =>
  all.flatMap(({ cases }) => cases.map(({ status, differences }) => [status, ...differences]));

const [payments] = intents as readonly [Raw];
const stated = { namespace: "payments", to: payments["spec"].to, requests: payments["spec"].requests };
const to = { namespace: "payments", to: { service: "payments-api", ports: [8080] } };
const allowWeb = changes[0]?.breaking as Raw;
const web = (expect: string) => ({ ...to, requests: [{ from: ["namespace/web"], methods: ["GET"], expect }] });

describe("a case states requests", () => {
  test("of the mesh as it is, as an intent does", async () => {
    const platform = { to: intents[2]?.["spec"].to, requests: intents[2]?.["spec"].requests };
    const { code, out } = await tested({ cases: [{ name: "as it is", expect: { holds: [stated, platform] } }] });
    assert.equal(code, 0, out);
    assert.equal((JSON.parse(out) as TestReport).files[0]?.cases[0]?.outcome, "nothing is changed");
  });

  test("before and after a change that is admitted", async () => {
    const report = await reportOf({
      cases: [
        { name: "both", apply: allowWeb, expect: { heldBefore: [web("denied")], holds: [web("allowed")] } },
        { name: "the next case starts from the same mesh", expect: { holds: [web("denied")] } },
      ],
    });
    assert.deepEqual(differencesIn(report), [["passed"], ["passed"]]);
  });

  test("what is denied is not stored, so what held still holds", async () => {
    const report = await reportOf({
      profile: "baseline",
      policies,
      cases: [{ name: "denied", apply: allowWeb, expect: { deniedBy: ["intent-broken"], holds: [stated] } }],
    });
    assert.deepEqual(differencesIn(report), [["passed"]]);
  });

  test("a failure names the entry, an example and what decides", async () => {
    const { cases } = {
      cases: [{ name: "web", apply: allowWeb, expect: { heldBefore: [web("allowed")], holds: [stated] } }],
    };
    assert.deepEqual(differencesIn(await reportOf({ cases })), [
      [
        "failed",
        {
          what: "heldBefore[0].requests[0]",
          expected: ["Requests (GET) from namespace/web must be allowed"],
          found: [
            "GET / from namespace web is denied, because no rule of the ALLOW policies at the sidecar matches: AuthorizationPolicy payments/allow-orders-to-payments, AuthorizationPolicy payments/deny-all",
          ],
        },
        {
          what: "holds[0].requests[1]",
          expected: ["Requests from others must be denied"],
          found: ["GET / from namespace web is allowed, by AuthorizationPolicy payments/allow-web rule 1"],
        },
      ],
    ]);
    const failure = elementsOf((await tested({ cases }, "junit")).out).find(({ name }) => name === "failure");
    assert.match(
      `${failure?.attributes["message"]} ${failure?.text}`,
      /expect\.holds\[0\]\.requests\[1\].*is allowed, by AuthorizationPolicy payments\/allow-web rule 1/s,
    );
    const text = await tested({ cases }, "text");
    assert.equal(text.code, 1);
    assert.match(
      text.out.replaceAll(/\s+/g, " "),
      /expect\.holds\[0\]\.requests\[1\]: - Requests from others must be denied \+ GET \/ from namespace web is allowed/,
    );
  });

  test("requests to every workload of namespaces name the namespace", async () => {
    const requests = [{ from: ["outside"], expect: "denied" }];
    const of = (names: readonly string[]) => ({ to: { namespaces: { names } }, requests });
    const report = await reportOf({ cases: [{ name: "all", expect: { holds: [of(["web", "payments"])] } }] });
    assert.deepEqual(
      differencesIn(report)
        .flat()
        .map((one) => (typeof one === "string" ? one : one.found)),
      [
        "failed",
        [
          "in namespace web, GET / from callers without an identity is allowed, because no ALLOW policy applies (Deployment web/storefront)",
        ],
      ],
    );
    const none = await reportOf({ cases: [{ name: "none", expect: { holds: [of(["nowhere"])] } }] });
    assert.match(JSON.stringify(differencesIn(none)), /No workload is in such a namespace/);
  });
});

describe("what is not there, or cannot be decided, never passes", () => {
  const custom = {
    apiVersion: "security.istio.io/v1",
    kind: "AuthorizationPolicy",
    metadata: { name: "ask", namespace: "payments" },
    spec: { action: "CUSTOM", provider: { name: "opa" }, rules: [{}] },
  };
  for (const { what, holds, more = [], says } of [
    {
      what: "a Service",
      holds: { ...to, to: { service: "payment-api" }, requests: [{ from: ["mesh"], expect: "denied" }] },
      says: /holds\[0\]\.to\.service.*There is no Service \\"payment-api\\" in payments: did you mean \\"payments-api\\"\?/,
    },
    {
      what: "a port",
      holds: { ...to, to: { service: "payments-api", ports: [80] }, requests: [{ from: ["mesh"], expect: "denied" }] },
      says: /holds\[0\]\.to\.ports\[0\].*Service payments-api has no port 80; its ports are 8080/,
    },
    {
      what: "pods",
      holds: { ...to, to: { workloads: { app: "none" } }, requests: [{ from: ["mesh"], expect: "denied" }] },
      says: /holds\[0\]\.to\.workloads.*No workload in payments has the labels app: none/,
    },
    {
      what: "a caller",
      holds: { ...to, requests: [{ from: ["deployment/web/store"], expect: "denied" }] },
      says: /undecided: deployment\/web\/store is not known/,
    },
    {
      what: "a namespace of a caller",
      holds: { ...to, requests: [{ from: ["namespace/wbe"], expect: "denied" }] },
      says: /undecided: there is no namespace wbe/,
    },
    {
      what: "the answer of a provider",
      holds: {
        ...to,
        requests: [
          { from: ["serviceaccount/orders/orders-api"], methods: ["POST"], paths: ["/payments/*"], expect: "allowed" },
        ],
      },
      more: [custom],
      says: /"POST \/payments\/ from service account orders\/orders-api is undecided: the provider \\"opa\\" decides, which is not known"/,
    },
  ])
    test(what, async () => {
      const own = [...mesh, ...more.map((one) => written("more.json", one))];
      const { code, out } = await tested({ mesh: own, cases: [{ name: what, expect: { holds: [holds] } }] });
      assert.equal(code, 1, out);
      assert.match(JSON.stringify(differencesIn(JSON.parse(out) as TestReport)), says);
    });
});

describe("what an intent could not say is an error with its place", () => {
  const entry = { from: ["mesh"], expect: "denied" };
  for (const [what, holds, says] of [
    [
      "no namespace",
      { to: to.to, requests: [entry] },
      /expect\.holds\[0\]: namespace is missing: give the namespace of the target/,
    ],
    [
      "a caller that is none",
      { ...to, requests: [{ ...entry, from: ["depoy/web/storefront"] }] },
      /expect\.holds\[0\]\.requests\[0\]\.from\[0\]: "depoy\/web\/storefront" is no caller: did you mean "deploy\/web\/storefront"\? Write serviceaccount/,
    ],
    [
      "a path template out of place",
      { ...to, requests: [{ ...entry, paths: ["/a/{**}/{*}"] }] },
      /expect\.holds\[0\]\.requests\[0\]\.paths\[0\]: .*\{\*\*\} has to be the last operator/,
    ],
    [
      "others without anybody before",
      { ...to, requests: [{ ...entry, from: ["others"] }] },
      /requests\[0\]\.from\[0\]: No other entry about the same names a caller/,
    ],
    [
      "a contradiction",
      { ...to, requests: [entry, { ...entry, expect: "allowed", methods: ["GET"] }] },
      /requests\[1\]: The entry contradicts another one .*both claim GET \/ from mesh/,
    ],
    [
      "an outcome that is none",
      { ...to, requests: [{ ...entry, expect: "forbidden" }] },
      /cases\[0\]\.expect\.holds\[0\]\.requests\[0\]\.expect: expected one of allowed, denied, encrypted, routed, found "forbidden"/,
    ],
    [
      "an unknown field",
      { ...to, requests: [{ ...entry, form: ["mesh"] }] },
      /requests\[0\]\.form: there is no such field/,
    ],
    ["no requests", { ...to, requests: [] }, /holds\[0\]\.requests: is empty/],
  ] as const)
    test(what, async () => {
      const { code, error } = await tested({ cases: [{ name: what, expect: { holds: [holds] } }] });
      assert.equal(code, 2, error);
      assert.match(error, says);
      assert.match(error, /meshward-test\.json:1: /);
    });

  test("what is expected of a decision still needs a change", async () => {
    const { code, error } = await tested({ cases: [{ name: "a", expect: { allowed: true, holds: [stated] } }] });
    assert.equal(code, 2);
    assert.match(error, /the change is missing/);
  });
});

test("an intent is tested if a case depends on it", async () => {
  const cases = [{ name: "web", apply: allowWeb, expect: { allowed: false } }];
  const { coverage } = await reportOf({ profile: "baseline", policies, cases });
  assert.deepEqual(
    coverage.settings.filter(({ isCovered }) => isCovered).map(({ document }) => document),
    ["MeshwardIntent payments/payments-are-posted-by-orders"],
  );
  const { out } = await tested({ profile: "baseline", policies, cases }, "text");
  assert.match(
    out.replaceAll(/\s+/g, " "),
    /1 of 3 settings, exceptions and intents are tested not tested: MeshwardIntent ledger\/reports-do-not-reach-the-journal; MeshwardIntent istio-system\/restricted-namespaces/,
  );
});
