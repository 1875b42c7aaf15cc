import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { documentDefinitions } from "../../src/deploy/definitions.ts";
import { webhookConfigurations } from "../../src/deploy/webhooks.ts";
import { permissionObjects } from "../../src/deploy/permissions.ts";
import { protectedLabel } from "../../src/kube/meshward-metadata.ts";
import { apiVersion } from "../../src/policy/documents.ts";
import { rules } from "../../src/rules/index.ts";
import type { CheckResult } from "../../src/doctor/check-result.ts";
import { meshward } from "../cli/terminal.ts";
import { type Environment, environment, namespace, send, skip, succeeds } from "./environment.ts";
import { register, wayOut } from "./meshward.ts";
import { until } from "./program.ts";

// doctor as a cluster administrator runs it from a laptop, and as a user who may do little.

describe("doctor", { skip }, () => {
  let all: Environment;
  before(async () => {
    all = await environment();
    const where = { namespace: "meshward-system", istioNamespace: "istio-system" };
    const granted = permissionObjects(rules, { ...where, ownsCertificates: false });
    await succeeds(
      all.plane,
      ["apply", "-f", "-"],
      [namespace(where.namespace), namespace("guarded", { [protectedLabel.key]: "true" }), ...granted],
    );
  });
  const doctor = async (user: "admin" | "meshward" = "admin") => {
    const { plane } = all;
    const { code, out } = await meshward(["doctor", "--kubeconfig", plane.kubeconfig(user), "--output", "json"]);
    const { results } = JSON.parse(out) as { results: readonly CheckResult[] };
    return { code, results, of: (check: string) => results.filter((one) => one.check === check) };
  };
  const restored = async (): Promise<void> => {
    await send(all.plane, wayOut);
    await register(all.plane, all.meshward);
    await until("the webhooks to be called", async () =>
      (await doctor()).of("self-test")[0]?.status === "ok" ? true : undefined,
    );
  };

  test("an installation that works has no fault", async () => {
    const { code, results } = await doctor();
    const faults = results.filter(({ status }) => status !== "ok");
    assert.deepEqual(faults, []);
    assert.equal(code, 0);
    for (const check of ["webhooks", "ca-bundle", "certificate", "self-test", "permissions", "kinds", "clock"])
      assert.ok(
        results.some((one) => one.check === check),
        check,
      );
  });

  test("the service account may ask about itself; and test itself", async () => {
    const { code, results, of } = await doctor("meshward");
    // It may not create VirtualServices, so it uses the Lease of the replicas.
    assert.equal(of("self-test")[0]?.status, "ok", JSON.stringify(results));
    assert.match(of("self-test")[0]?.message ?? "", /^With a Lease/);
    assert.equal(of("permissions")[0]?.status, "ok");
    assert.equal(code, 0);
  });

  test("the definitions of the documents, as the API server stores them, are those of this version", async () => {
    const definitions = documentDefinitions(rules);
    const policy = {
      apiVersion,
      kind: "MeshwardPolicy",
      metadata: { name: "unread" },
      spec: { protectedNamespaces: { names: ["unread"] } },
    };
    try {
      await succeeds(all.plane, ["apply", "--server-side", "-f", "-"], definitions);
      await until("the definitions to be served", async () =>
        (await send(all.plane, ["apply", "-f", "-"], { objects: [policy] })).code === 0 ? true : undefined,
      );
      const { of } = await doctor();
      assert.deepEqual(
        of("definitions").map(({ status }) => status),
        definitions.map(() => "ok"),
      );
      assert.ok(of("definitions").every(({ message }) => message.includes("as this version of Meshward needs it")));
      const said = await until("the policy to be read", async () => {
        const [found] = (await doctor()).of("policies");
        return found?.status === "unknown" ? undefined : found?.message;
      });
      assert.match(said, /generation 1 of MeshwardPolicy unread/);
    } finally {
      await send(all.plane, [
        "delete",
        "customresourcedefinition",
        ...definitions.map(({ metadata }) => metadata.name),
      ]);
    }
  });

  test("a webhook configuration that somebody has changed is reported, field by field", async () => {
    const { url, authority } = all.meshward;
    const [validating] = webhookConfigurations(rules, { url, caBundle: authority, failurePolicy: "Fail" });
    const webhooks = validating.webhooks.map((webhook) => ({
      ...webhook,
      rules: webhook.rules.map((rule) => ({ ...rule, operations: rule.operations.filter((one) => one !== "DELETE") })),
      objectSelector: { matchLabels: { reviewed: "please" } },
    }));
    try {
      await succeeds(all.plane, ["replace", "--force", "-f", "-"], [{ ...validating, webhooks }]);
      const { code, of } = await doctor();
      const messages = of("webhooks").map(({ message }) => message);
      assert.ok(
        messages.some((message) => /rules: not reviewed: DELETE/.test(message)),
        messages.join("\n"),
      );
      assert.ok(messages.some((message) => /objectSelector: labels on an object exempt it/.test(message)));
      assert.equal(code, 1);
    } finally {
      await restored();
    }
  });

  test("without Meshward's answer the self-test fails, and the command that it prints unlocks the cluster", async () => {
    await all.meshward.kill();
    try {
      const { code, of } = await doctor();
      assert.equal(of("self-test")[0]?.status, "fail");
      assert.match(of("self-test")[0]?.message ?? "", /cannot call Meshward/);
      assert.equal(of("certificate")[0]?.status, "unknown");
      assert.equal(code, 1);
      const { out } = await meshward(["doctor", "--kubeconfig", all.plane.kubeconfig("admin")]);
      const command = /^ {2}kubectl (delete .*)$/m.exec(out)?.[1] ?? "";
      await succeeds(all.plane, command.split(" "));
      const route = [{ destination: { host: "a.example.com" } }];
      const unlocked = {
        apiVersion: "networking.istio.io/v1",
        kind: "VirtualService",
        metadata: { name: "unlocked", namespace: "default" },
        spec: { hosts: ["a.example.com"], http: [{ route }] },
      };
      await until("the API server to ask no more", async () => {
        const { code: applied, stderr } = await send(all.plane, ["apply", "-f", "-"], { objects: [unlocked] });
        if (applied !== 0) throw new Error(stderr);
        return true;
      });
    } finally {
      await all.meshward.restart();
      await restored();
    }
  });
});
