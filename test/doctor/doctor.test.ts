import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AddressInfo } from "node:net";
import { once } from "node:events";
import { ClusterApi } from "../../src/doctor/cluster-api.ts";
import type { CheckResult } from "../../src/doctor/check-result.ts";
import { type DoctorOptions, examine, unlockCommand } from "../../src/doctor/doctor.ts";
import { selfTest } from "../../src/admission/self-test.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { selfSigned } from "../../src/tls/self-signed.ts";
import { testCertificate } from "../contract/api-server.ts";
import { type Answer, clusterWith, healthy, metricsOf, paths, type Raw, refused } from "./fake-cluster.ts";

const now = Date.now();
const policiesWith: DoctorOptions["policiesWith"] = async (objects) => loadPolicies(objects, rules).policies;
const { ca = "" } = await testCertificate();

async function examined(change: (answers: Record<string, Answer>) => void = () => undefined, time = now) {
  const answers = healthy(ca);
  change(answers);
  const { connection, asked } = clusterWith(answers, time);
  const results = await examine(new ClusterApi(connection), {
    rules,
    version: "0.0.0",
    webhookConfiguration: "meshward",
    istioNamespace: "istio-system",
    policiesWith,
    now: () => now,
  });
  return { results, asked, of: (check: string) => results.filter((one) => one.check === check) };
}
const bad = (results: readonly CheckResult[]) => results.filter(({ status }) => status === "fail" || status === "warn");
const webhookIn = (answers: Record<string, Answer>, name: string): Raw =>
  (answers[paths.validating] as Raw)["webhooks"].find((one: Raw) => one["name"] === name);
const mesh = "mesh.validate.meshward.io";

describe("doctor", () => {
  test("finds nothing wrong where nothing is wrong, and stores nothing", async () => {
    const { results, asked } = await examined();
    assert.deepEqual(bad(results), []);
    // The Service is not reachable from a test.
    assert.deepEqual(
      results.filter(({ status }) => status === "unknown").map(({ check }) => check),
      ["certificate"],
    );
    const checks = ["kubernetes", "webhooks", "failure-policy", "ca-bundle", "exclusions", "endpoints", "self-test"];
    for (const check of [
      ...checks,
      "replicas",
      "permissions",
      "kinds",
      "namespace",
      "other-webhooks",
      "clock",
      "definitions",
      "policies",
      "protection",
    ])
      assert.ok(
        results.some((one) => one.check === check && one.status === "ok"),
        check,
      );
    for (const { method = "GET", path } of asked)
      assert.ok(method === "GET" || path.includes("dryRun=All") || path.endsWith("reviews"), `${method} ${path}`);
  });

  test("every result that is not ok says what to do, in one line", async () => {
    const { results } = await examined((answers) => {
      for (const path of Object.keys(answers)) if (path !== "/version") delete answers[path];
    });
    assert.ok(results.length >= 10);
    for (const { status, message, advice } of results) {
      assert.ok(!message.includes("\n"), message);
      assert.equal(advice !== undefined, status !== "ok", message);
    }
  });

  const faults: readonly [string, string, "ok" | "warn" | "fail", RegExp, (answers: Record<string, Answer>) => void][] =
    [
      ["no validating webhooks", "webhooks", "fail", /nothing is reviewed/, (all) => void delete all[paths.validating]],
      ["no mutating webhook", "webhooks", "warn", /no namespace is enrolled/, (all) => void delete all[paths.mutating]],
      [
        "a webhook is gone",
        "webhooks",
        "fail",
        /mesh\.validate\.meshward\.io, name: the webhook is missing/,
        (all) => {
          const { webhooks } = all[paths.validating] as Raw;
          webhooks.splice(webhooks.indexOf(webhookIn(all, mesh)), 1);
        },
      ],
      [
        "a foreign webhook",
        "webhooks",
        "warn",
        /x\.y\.z, name: this version of Meshward has no such/,
        (all) =>
          (all[paths.validating] as Raw)["webhooks"].push({ name: "x.y.z", clientConfig: { caBundle: btoa(ca) } }),
      ],
      [
        "a kind is not reviewed",
        "webhooks",
        "fail",
        /not reviewed: CREATE virtualservices\.networking\.istio\.io/,
        (all) => {
          for (const rule of webhookIn(all, mesh)["rules"])
            rule.resources = rule.resources.filter((one: string) => one !== "virtualservices");
        },
      ],
      [
        "an operation is not reviewed",
        "webhooks",
        "fail",
        /not reviewed: DELETE/,
        (all) => {
          for (const rule of webhookIn(all, mesh)["rules"]) rule.operations = ["CREATE", "UPDATE"];
        },
      ],
      [
        "more is reviewed",
        "webhooks",
        "warn",
        /no rule needs it: CREATE secrets/,
        (all) =>
          webhookIn(all, mesh)["rules"].push({
            apiGroups: [""],
            apiVersions: ["*"],
            operations: ["CREATE"],
            resources: ["secrets"],
          }),
      ],
      [
        "a namespace is left out",
        "webhooks",
        "fail",
        /namespaceSelector: it selects other/,
        (all) =>
          webhookIn(all, mesh)["namespaceSelector"].matchExpressions.push({ key: "skip", operator: "DoesNotExist" }),
      ],
      [
        "an object can exempt itself",
        "webhooks",
        "fail",
        /objectSelector: labels on an object/,
        (all) => {
          webhookIn(all, mesh)["objectSelector"] = { matchLabels: { skip: "no" } };
        },
      ],
      [
        "a condition",
        "webhooks",
        "fail",
        /matchConditions: other requests/,
        (all) => {
          webhookIn(all, mesh)["matchConditions"] = [{ name: "never", expression: "false" }];
        },
      ],
      [
        "a failure policy of one webhook",
        "webhooks",
        "fail",
        /failurePolicy: it is Ignore, expected Fail/,
        (all) => {
          webhookIn(all, "mesh-protected.validate.meshward.io")["failurePolicy"] = "Ignore";
        },
      ],
      [
        "matchPolicy",
        "webhooks",
        "fail",
        /matchPolicy: it is Exact/,
        (all) => {
          webhookIn(all, mesh)["matchPolicy"] = "Exact";
        },
      ],
      [
        "a timeout",
        "webhooks",
        "warn",
        /timeoutSeconds: it is 30, expected 5/,
        (all) => {
          webhookIn(all, mesh)["timeoutSeconds"] = 30;
        },
      ],
      [
        "an empty caBundle",
        "ca-bundle",
        "fail",
        /caBundle is empty in mesh\.validate/,
        (all) => {
          delete webhookIn(all, mesh)["clientConfig"].caBundle;
        },
      ],
      [
        "another caBundle",
        "ca-bundle",
        "fail",
        /differs between webhooks/,
        (all) => {
          webhookIn(all, mesh)["clientConfig"].caBundle = btoa(`${ca}\n${ca}`);
        },
      ],
      [
        "garbage as caBundle",
        "ca-bundle",
        "fail",
        /no certificate that can be read/,
        (all) => {
          for (const configuration of [paths.validating, paths.mutating])
            for (const webhook of (all[configuration] as Raw)["webhooks"])
              webhook.clientConfig.caBundle = btoa("garbage");
        },
      ],
      [
        "no Service",
        "service",
        "fail",
        /meshward-system\/meshward does not exist/,
        (all) => void delete all[paths.service],
      ],
      [
        "another port",
        "service",
        "fail",
        /no port 443/,
        (all) => {
          (all[paths.service] as Raw)["spec"].ports[0].port = 8443;
        },
      ],
      [
        "no replica",
        "endpoints",
        "fail",
        /no replica that is ready/,
        (all) => {
          all[paths.slices] = { items: [{ endpoints: [{ addresses: ["10.0.0.1"], conditions: { ready: false } }] }] };
        },
      ],
      [
        "one replica",
        "endpoints",
        "warn",
        /1 replica that is ready/,
        (all) => {
          all[paths.slices] = { items: [{ endpoints: [{ addresses: ["10.0.0.1"], conditions: { ready: true } }] }] };
        },
      ],
      [
        "what should be denied is admitted",
        "self-test",
        "fail",
        /not reviewed/,
        (all) => {
          all[paths.selfTest] = {};
        },
      ],
      [
        "the webhook cannot be called",
        "self-test",
        "fail",
        /cannot call Meshward.*connection refused/,
        (all) => {
          all[paths.selfTest] = refused(
            "failed",
            'Internal error occurred: failed calling webhook "mesh-protected.validate.meshward.io": failed to call webhook: connection refused',
          );
        },
      ],
      [
        "another webhook denies",
        "self-test",
        "warn",
        /Another webhook denied/,
        (all) => {
          all[paths.selfTest] = refused("forbidden", 'admission webhook "policy.example.com" denied the request');
        },
      ],
      [
        "a replica of another version",
        "replicas",
        "warn",
        /Pod b is Meshward 9\.9\.9/,
        (all) => {
          all[metricsOf("b")] = 'meshward_build_info{version="9.9.9",node_version="v24"} 1\n';
        },
      ],
      [
        "kept policies",
        "policies",
        "warn",
        /Pod b keeps 1 policy/,
        (all) => {
          all[metricsOf("b")] = 'meshward_build_info{version="0.0.0"} 1\nmeshward_policies{state="kept"} 1\n';
        },
      ],
      [
        "a replica that is not ready",
        "replicas",
        "warn",
        /Pod c is not ready/,
        (all) => {
          (all[paths.pods] as Raw)["items"][2].status.conditions[0].status = "False";
        },
      ],
      [
        "a missing permission",
        "permissions",
        "fail",
        /may not list, watch virtualservices\.networking\.istio\.io in all namespaces/,
        (all) => {
          all[paths.accessOfOther] = ({ body }) => {
            const { resource, verb } = (body as Raw)["spec"].resourceAttributes;
            return { status: { allowed: resource !== "virtualservices" || verb === "get" } };
          };
        },
      ],
      [
        "the permissions of a whole Role",
        "permissions",
        "fail",
        /may not get, list, watch deployments\.apps, jobs\.batch in all namespaces$/,
        (all) => {
          all[paths.accessOfOther] = ({ body }) => {
            const { resource } = (body as Raw)["spec"].resourceAttributes;
            return { status: { allowed: !["deployments", "jobs"].includes(resource) } };
          };
        },
      ],
      [
        "no permissions at all",
        "permissions",
        "fail",
        /has none of the \d+ permissions/,
        (all) => {
          all[paths.accessOfOther] = { status: { allowed: false } };
        },
      ],
      [
        "a profile that denies nothing",
        "self-test",
        "warn",
        /asks Meshward and uses its answer, but wrong weights/,
        (all) => {
          all[paths.selfTest] = {};
          all[paths.leases] = refused("forbidden", `denied the request: ${selfTest.answer}`);
        },
      ],
      [
        "no Istio",
        "kinds",
        "fail",
        /networking\.istio\.io: not served/,
        (all) => {
          for (const path of Object.keys(all))
            if (path.startsWith("/apis/networking.istio.io/v") && !path.includes("/namespaces/")) delete all[path];
        },
      ],
      [
        "no Gateway API",
        "kinds",
        "warn",
        /gateway\.networking\.k8s\.io: not served/,
        (all) => {
          for (const path of Object.keys(all)) if (path.startsWith("/apis/gateway.")) delete all[path];
        },
      ],
      [
        "its own namespace is in the mesh",
        "namespace",
        "fail",
        /in the mesh that Meshward guards/,
        (all) => {
          (all[paths.namespace] as Raw)["metadata"].labels = { "istio.io/dataplane-mode": "ambient" };
        },
      ],
      [
        "another webhook for Namespaces",
        "other-webhooks",
        "warn",
        /other \(x\.y\.z\)/,
        (all) => {
          const rule = { apiGroups: ["*"], resources: ["*"], operations: ["CREATE"] };
          (all[paths.allMutating] as Raw)["items"].push({
            metadata: { name: "other" },
            webhooks: [{ name: "x.y.z", rules: [rule] }],
          });
        },
      ],
      [
        "definitions of another version",
        "definitions",
        "warn",
        /meshwardpolicies\.meshward\.io is defined by another version of Meshward: v1alpha1 differs/,
        (all) => {
          const [version] = (all[paths.definition] as Raw)["spec"].versions;
          delete version.schema.openAPIV3Schema.properties.spec.properties.rules;
        },
      ],
      [
        "a definition that is not established",
        "definitions",
        "fail",
        /not established: the name mwp is taken/,
        (all) => {
          const [condition] = (all[paths.definition] as Raw)["status"].conditions;
          Object.assign(condition, { status: "False", message: "the name mwp is taken" });
        },
      ],
      [
        "no definitions",
        "definitions",
        "ok",
        /so such documents come from files only/,
        (all) => delete all[paths.definition],
      ],
      [
        "a broken document",
        "policies",
        "fail",
        /MeshwardPolicy ledger is invalid: spec\.rules/,
        (all) => {
          const [first] = (all[paths.policies] as Raw)["items"];
          first.status.conditions.push({ type: "Broken", status: "True", message: "spec.rules: expected a list" });
        },
      ],
      [
        "a document that no replica has read",
        "policies",
        "warn",
        /generation 3 of MeshwardPolicy ledger/,
        (all) => {
          (all[paths.policies] as Raw)["items"][0].metadata.generation = 3;
        },
      ],
      [
        "the names of a policy in the cluster",
        "protection",
        "ok",
        /2 namespaces of 2 protected, by the label meshward\.io\/protected=true or the name ledger-\*: ledger-eu, payments/,
        (all) => {
          (all[paths.namespaces] as Raw)["items"][0].metadata.name = "ledger-eu";
        },
      ],
      [
        "no protected namespace",
        "protection",
        "warn",
        /No namespace is protected; policies protect those with the label/,
        (all) => {
          (all[paths.namespaces] as Raw)["items"].pop();
        },
      ],
      [
        "an old Kubernetes",
        "kubernetes",
        "fail",
        /older than 1\.30/,
        (all) => {
          all["/version"] = { major: "1", minor: "29+", gitVersion: "v1.29.0" };
        },
      ],
    ];
  for (const [title, check, status, message, change] of faults)
    test(`${title}: ${status}`, async () => {
      const { of } = await examined(change);
      const found = of(check).filter((one) => one.status === status);
      assert.ok(
        found.some((one) => message.test(one.message)),
        JSON.stringify(of(check)),
      );
    });

  test("all failure policies of the chart are expected, and told", async () => {
    const { of } = await examined();
    assert.match(of("failure-policy")[0]?.message ?? "", /protected namespaces are refused/);
  });

  test("every check is on its page", async () => {
    const page = readFileSync(new URL("../../docs/doctor.md", import.meta.url), "utf8");
    const { results } = await examined();
    const checks = new Set([...results.map(({ check }) => check), ...faults.map(([, check]) => check)]);
    const documented = [...page.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, check = ""]) => check);
    assert.deepEqual(checks, new Set(documented));
  });

  test("clocks that differ warn", async () => {
    const { of } = await examined(() => undefined, now - 120_000);
    assert.match(of("clock")[0]?.message ?? "", /differ by 1(19|20|21) s/);
    assert.equal(of("clock")[0]?.status, "warn");
  });

  test("the service account itself asks what it may do", async () => {
    const { of, asked } = await examined((answers) => {
      answers[paths.who] = { status: { userInfo: { username: "system:serviceaccount:meshward-system:meshward" } } };
      delete answers[paths.accessOfOther];
      answers[paths.accessOfSelf] = { status: { allowed: true } };
    });
    assert.equal(of("permissions")[0]?.status, "ok");
    assert.ok(asked.some(({ path }) => path === paths.accessOfSelf));
  });

  test("who may not create VirtualServices uses the Lease of the replicas", async () => {
    const answers: readonly [object, string][] = [
      [refused("forbidden", `denied the request: ${selfTest.answer}`), "ok"],
      [{ metadata: { name: selfTest.name } }, "fail"],
      [refused("forbidden", "you may not create leases"), "unknown"],
    ];
    for (const [answer, status] of answers) {
      const { of } = await examined((all) => {
        all[paths.selfTest] = refused("forbidden", "you may not create virtualservices");
        all[paths.leases] = answer;
      });
      assert.deepEqual(
        of("self-test").map((one) => one.status),
        [status],
      );
    }
  });

  test("a replica that cannot be asked hides nothing of the others", async () => {
    const { of } = await examined((all) => {
      all[metricsOf("a")] = refused("forbidden", "you may not get pods/proxy");
    });
    const replicas = of("replicas").map(({ status, message }) => [status, message.split(" ")[1]]);
    assert.deepEqual(
      new Set(replicas),
      new Set([
        ["unknown", "a"],
        ["ok", "b:"],
        ["ok", "c:"],
      ]),
    );
    assert.match(of("replicas").find(({ status }) => status === "unknown")?.advice ?? "", /may get pods\/proxy/);
  });

  test("what may not be read is unknown, and everything else is still checked", async () => {
    const all = healthy(ca);
    for (const path of Object.keys(all)) {
      if (path === "/version") continue;
      const { results } = await examined((answers) => {
        answers[path] = refused("forbidden", `you may not get ${path}`);
      });
      assert.ok(results.length >= 10, path);
      assert.ok(
        results.some(({ status }) => status === "unknown"),
        path,
      );
    }
  });

  test("an API server that cannot be reached is an error", async () => {
    const { connection } = clusterWith({ "/version": refused("unreachable", "no connection") }, now);
    const options = {
      rules,
      version: "",
      webhookConfiguration: "meshward",
      istioNamespace: "istio-system",
      policiesWith,
      now: () => now,
    };
    await assert.rejects(examine(new ClusterApi(connection), options), /no connection/);
  });

  test("the command that unlocks a cluster names both configurations", () => {
    assert.equal(
      unlockCommand("meshward"),
      "kubectl delete validatingwebhookconfiguration,mutatingwebhookconfiguration meshward",
    );
  });
});

describe("the served certificate", () => {
  const withUrl = async (url: string, bundle = ca) => {
    const { of } = await examined((answers) => {
      for (const configuration of [paths.validating, paths.mutating])
        for (const webhook of (answers[configuration] as Raw)["webhooks"])
          webhook.clientConfig = { url: `${url}/validate`, caBundle: btoa(bundle) };
    });
    return of("certificate")[0];
  };
  const serving = async (use: (port: number) => Promise<void>) => {
    const { cert, key } = await testCertificate();
    const server = createServer({ cert, key }).listen(0, "0.0.0.0");
    await once(server, "listening");
    try {
      await use((server.address() as AddressInfo).port);
    } finally {
      server.close();
    }
  };

  test("is accepted if an authority of caBundle issued it for the name", async () => {
    await serving(async (port) => {
      const result = await withUrl(`https://127.0.0.1:${port}`);
      assert.match(result?.message ?? "", /has a certificate from an authority of caBundle, until 20/);
    });
  });

  test("fails for another authority", async () => {
    const folder = mkdtempSync(join(tmpdir(), "meshward-doctor-"));
    try {
      const { certificates } = await selfSigned({ folder, now: Date.now() });
      await serving(async (port) => {
        const result = await withUrl(`https://127.0.0.1:${port}`, certificates.current().ca ?? "");
        assert.equal(result?.status, "fail");
        assert.match(result.message, /will not accept the certificate/);
      });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("fails for another name", async () => {
    await serving(async (port) => {
      const result = await withUrl(`https://127.0.0.2:${port}`);
      assert.equal(result?.status, "fail");
      assert.match(result.message, /ALTNAME|altnames/);
    });
  });

  test("is unknown if nothing listens", async () => {
    const result = await withUrl("https://127.0.0.1:9");
    assert.equal(result?.status, "unknown");
    assert.match(result.message, /ECONNREFUSED/);
  });
});
