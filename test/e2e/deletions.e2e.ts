import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import {
  type Environment,
  environment,
  isDenied,
  isQuiet,
  isWarned,
  namespace,
  type Raw,
  seen,
  send,
  skip,
  stored,
  succeeds,
} from "./environment.ts";
import { canary, denyAll, deployment, peerAuthentication, service, subsets } from "./workloads.ts";

const istio = "/apis/networking.istio.io/v1/namespaces";
const security = "/apis/security.istio.io/v1/namespaces";

describe("what is deleted", { skip }, () => {
  let environmentOfAll: Environment;
  let plane: Environment["plane"];
  before(async () => {
    environmentOfAll = await environment();
    ({ plane } = environmentOfAll);
  });

  /** A protected namespace with a workload, and what keeps it. */
  async function prepare(name: string, ...objects: readonly Raw[]): Promise<void> {
    const things = [deployment(name, "shop"), service(name, "shop"), ...objects];
    await succeeds(plane, ["apply", "-f", "-"], [namespace(name, { "meshward.io/protected": "true" }), ...things]);
    await seen(environmentOfAll);
  }
  const remove = (where: string, ...args: readonly string[]) =>
    send(plane, ["--namespace", where, "delete", "--wait=false", ...args], { as: "tenant" });
  const isThere = async (where: string, kind: string, name: string, expected = true) =>
    assert.equal((await stored(plane, kind, name, where)) !== undefined, expected);

  describe("a DestinationRule in use", () => {
    const here = "deleted-subsets";
    before(() => prepare(here, subsets(here, "shop", "v1", "v2"), canary(here, "shop", { v1: 90, v2: 10 })));
    const missing = [
      /virtual-service-subset-not-found/,
      /"v2"/,
      /DestinationRule deleted-subsets\/shop cannot be deleted/,
    ];

    test("by name, all of them, and as a collection: denied to a person", async () => {
      isDenied(await remove(here, "destinationrule", "shop"), ...missing);
      isDenied(await remove(here, "destinationrules", "--all"), ...missing);
      isDenied(await remove(here, "--raw", `${istio}/${here}/destinationrules`), ...missing);
      await isThere(here, "destinationrule", "shop");
    });

    test("a dry run warns, since it may belong to a set", async () => {
      const output = await remove(here, "destinationrule", "shop", "--dry-run=server");
      isWarned(output, /defines subset "v1"/, /defines subset "v2"/);
      assert.match(output.stderr, /only a warning because this is a dry run, and the change itself would be denied/);
    });

    test("a reconciler is told", async () => {
      const args = ["--namespace", here, "delete", "destinationrule", "shop"];
      const output = await send(plane, args, { as: "flux" });
      isWarned(output, /defines subset "v1"/, /defines subset "v2"/);
      assert.match(output.stderr, /only a warning because a GitOps controller may still apply the missing objects/);
      await isThere(here, "destinationrule", "shop", false);
    });

    test("after the routes that need it: free", async () => {
      await succeeds(plane, ["apply", "-f", "-"], [subsets(here, "shop", "v1", "v2")]);
      await seen(environmentOfAll);
      isQuiet(await remove(here, "virtualservices,destinationrules", "--all"));
      await isThere(here, "destinationrule", "shop", false);
    });
  });

  describe("the definition of a kind", () => {
    const here = "deleted-definition";
    const name = "authorizationpolicies.security.istio.io";
    before(() => prepare(here, denyAll(here)));
    const lost = [
      /namespace-definition-removed/,
      /Namespace deleted-definition: .*authorizationpolicies\.security\.istio\.io/,
    ];
    const served = (value: boolean) => JSON.stringify([{ op: "replace", path: "/spec/versions/0/served", value }]);

    test("deleted, also in order to make it again: denied while protected namespaces have objects of the kind", async () => {
      isDenied(await send(plane, ["delete", "--wait=false", "customresourcedefinition", name]), ...lost);
      const raw = await stored(plane, "customresourcedefinition", name);
      if (raw === undefined) assert.fail(`${name} is gone`);
      isDenied(await send(plane, ["replace", "--force", "--wait=false", "-f", "-"], { objects: [raw] }), ...lost);
      await isThere(here, "authorizationpolicy", "deny-all");
    });

    test("one of several versions is no longer served, and is served again: free", async () => {
      for (const value of [false, true])
        isQuiet(
          await send(plane, ["patch", "customresourcedefinition", name, "--type=json", `--patch=${served(value)}`]),
        );
    });
  });

  describe("what denies by default", () => {
    const here = "deleted-denial";
    before(() => prepare(here, denyAll(here)));
    const removed = [
      /namespace-default-deny-removed/,
      /AuthorizationPolicy deleted-denial\/deny-all cannot be deleted/,
    ];

    test("by name, in a dry run, all of them, and as a collection: denied", async () => {
      isDenied(await remove(here, "authorizationpolicy", "deny-all"), ...removed);
      isDenied(await remove(here, "authorizationpolicy", "deny-all", "--dry-run=server"), ...removed);
      isDenied(await remove(here, "authorizationpolicies", "--all"), ...removed);
      isDenied(await remove(here, "--raw", `${security}/${here}/authorizationpolicies`), ...removed);
      await isThere(here, "authorizationpolicy", "deny-all");
    });

    test("by a reconciler too", async () => {
      const args = ["--namespace", here, "delete", "authorizationpolicy", "deny-all"];
      isDenied(await send(plane, args, { as: "flux" }), ...removed);
      await isThere(here, "authorizationpolicy", "deny-all");
    });
  });

  describe("a STRICT policy", () => {
    const here = "deleted-strict";
    before(() => prepare(here, peerAuthentication(here, "default", "STRICT")));
    const weakened = [/namespace-mtls-weakened/, /PeerAuthentication deleted-strict\/default cannot be deleted/];

    test("by name, all of them, and as a collection: denied", async () => {
      isDenied(await remove(here, "peerauthentication", "default"), ...weakened);
      isDenied(await remove(here, "peerauthentications", "--all"), ...weakened);
      isDenied(await remove(here, "--raw", `${security}/${here}/peerauthentications`), ...weakened);
      await isThere(here, "peerauthentication", "default");
    });
  });

  test("a whole namespace, protected and in use: it ends, and takes everything with it", async () => {
    const here = "deleted-whole";
    await prepare(
      here,
      denyAll(here),
      peerAuthentication(here, "default", "STRICT"),
      subsets(here, "shop", "v1", "v2"),
      canary(here, "shop", { v1: 90, v2: 10 }),
    );
    const output = await send(plane, ["delete", "namespace", here, "--timeout=120s"], { as: "tenant" });
    assert.equal(output.code, 0, output.stderr);
    assert.equal(await stored(plane, "namespace", here), undefined);
  });
});
