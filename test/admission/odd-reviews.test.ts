import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createGate } from "../../src/admission/gate.ts";
import { readReview } from "../../src/admission/review.ts";
import { readAny } from "../../src/kube/object.ts";
import { loadPolicies } from "../../src/policy/load.ts";
import { rules } from "../../src/rules/index.ts";
import { defaultMeshSettings, meshSettingsOf, settingsObjects } from "../../src/view/settings.ts";
import { MeshStore, rebuilt } from "../../src/view/store.ts";
import { objectsOf } from "../attack/ways.ts";
import { type Raw, review } from "./requests.ts";

// Reviews that the API server does not send, or sends rarely, of changes that are denied when they are sent as usual: none of
// them is allowed without a word, and none makes the gate fail.

const { policies } = loadPolicies([], rules, "baseline");
const objects = objectsOf("sidecars");
const gate = createGate({ mesh: meshOf(objects), rules, policies: () => policies });

function meshOf(all: readonly Raw[]): () => MeshStore {
  const store = new MeshStore(defaultMeshSettings);
  for (const raw of all) {
    const dated = { ...raw, metadata: { ...(raw["metadata"] as Raw), creationTimestamp: "2026-01-01T00:00:00Z" } };
    const object = readAny(dated);
    if (object !== undefined) store.set(object);
  }
  const mesh = rebuilt(store, meshSettingsOf(settingsObjects(store)));
  return () => mesh;
}

// oxlint-disable-next-line no-explicit-any -- parts of a review are taken out and replaced by others of any type.
type Review = any;
const stored = (kind: string, name: string): Review =>
  objects.find((one) => one["kind"] === kind && (one["metadata"] as Raw)["name"] === name);
const changed = (object: Raw, change: (object: Review) => void): Raw => {
  const copy = structuredClone(object);
  change(copy);
  return copy;
};
const strict = stored("PeerAuthentication", "default");
const denyAll = stored("AuthorizationPolicy", "deny-all");
const workload = stored("Deployment", "api");
const namespace = stored("Namespace", "payments");

const weakenings: Readonly<Record<string, { readonly object?: Raw; readonly oldObject?: Raw }>> = {
  "STRICT becomes PERMISSIVE": {
    oldObject: strict,
    object: changed(strict, ({ spec }) => (spec.mtls.mode = "PERMISSIVE")),
  },
  "STRICT is deleted": { oldObject: strict },
  "the default deny allows everybody": {
    oldObject: denyAll,
    object: changed(denyAll, (policy) => (policy.spec = { rules: [{}] })),
  },
  "the default deny is deleted": { oldObject: denyAll },
  "a workload leaves the mesh": {
    oldObject: workload,
    object: changed(workload, ({ spec }) => (spec.template.metadata.labels["sidecar.istio.io/inject"] = "false")),
  },
  "the namespace leaves the mesh": {
    oldObject: namespace,
    object: changed(namespace, ({ metadata }) => delete metadata.labels["istio-injection"]),
  },
  "a policy that allows everybody comes": {
    object: changed(denyAll, (policy) => {
      policy.metadata.name = "open";
      policy.spec = { rules: [{}] };
    }),
  },
};

const onBoth =
  (change: (object: Review) => void) =>
  ({ request }: Review): void => {
    for (const part of ["object", "oldObject"]) if (request[part]) change(request[part]);
  };
const onNew =
  (change: (object: Review) => void) =>
  ({ request }: Review): void => {
    if (request.object) change(request.object);
  };
const isOfIstio = ({ apiVersion }: Review): boolean => String(apiVersion).includes("istio.io");

const oddities: Readonly<Record<string, (review: Review) => void>> = {
  "the namespace of the request is another one": ({ request }) => (request.namespace = "web"),
  "no namespace in the request": ({ request }) => delete request.namespace,
  "an empty namespace in the request": ({ request }) => (request.namespace = ""),
  "a number for the namespace": ({ request }) => (request.namespace = 5),
  "no namespace in the objects": onBoth(({ metadata }) => delete metadata.namespace),
  "another namespace in the object": onNew(({ metadata }) => (metadata.namespace = "web")),
  "another namespace in the old object": ({ request }) => {
    if (request.oldObject) request.oldObject.metadata.namespace = "web";
  },
  "another name in the request": ({ request }) => (request.name = "other"),
  "no name in the request": ({ request }) => delete request.name,
  "another name in the object": onNew(({ metadata }) => (metadata.name = "other")),
  "a name that is generated": ({ request }) => {
    request.name = "";
    if (!request.object) return;
    delete request.object.metadata.name;
    request.object.metadata.generateName = "x-";
  },
  "no object": ({ request }) => delete request.object,
  "null for the object": ({ request }) => (request.object = null),
  "no old object": ({ request }) => delete request.oldObject,
  "null for the old object": ({ request }) => (request.oldObject = null),
  "null for both": ({ request }) => (request.object = request.oldObject = null),
  "a text for the object": ({ request }) => (request.object = "x"),
  "an empty object": ({ request }) => (request.object = {}),
  "an empty old object": ({ request }) => (request.oldObject = {}),
  "null for the metadata": onNew((object) => (object.metadata = null)),
  "a list for the labels": onNew(({ metadata }) => (metadata.labels = ["x"])),
  "subresource status": ({ request }) => (request.subResource = "status"),
  "subresource finalize": ({ request }) => (request.subResource = "finalize"),
  "subresource ephemeralcontainers": ({ request }) => (request.subResource = "ephemeralcontainers"),
  "a dry run": ({ request }) => (request.dryRun = true),
  "a dry run in words": ({ request }) => (request.dryRun = "true"),
  "another version of the API": ({ request }) => {
    if (isOfIstio({ apiVersion: request.kind.group })) request.kind.version = "v1beta1";
    onBoth((object) => {
      if (isOfIstio(object)) object.apiVersion = "security.istio.io/v1beta1";
    })({ request });
  },
  "the old object in another version": ({ request }) => {
    if (request.oldObject && isOfIstio(request.oldObject)) request.oldObject.apiVersion = "security.istio.io/v1beta1";
  },
  "a version that nobody knows": ({ request }) => {
    request.kind.version = "v9";
    onBoth((object) => (object.apiVersion = String(object.apiVersion).replace(/v1$/, "v9")))({ request });
  },
  "a version that nobody knows, in the request": ({ request }) => (request.kind.version = "v9"),
  "another kind in the request": ({ request }) =>
    (request.kind = { group: "networking.istio.io", version: "v1", kind: "VirtualService" }),
  "another kind in the object": onNew((object) => (object.kind = "VirtualService")),
  "another kind as it was requested": ({ request }) => {
    request.requestKind = { group: "security.istio.io", version: "v1beta1", kind: "RequestAuthentication" };
    request.resource = { group: "x", version: "v1", resource: "things" };
  },
  "an operation in small letters": ({ request }) => (request.operation = request.operation.toLowerCase()),
  "operation CONNECT": ({ request }) => (request.operation = "CONNECT"),
  "operation CREATE": ({ request }) => (request.operation = "CREATE"),
  "operation UPDATE": ({ request }) => (request.operation = "UPDATE"),
  "no operation": ({ request }) => delete request.operation,
  "no user": ({ request }) => delete request.userInfo,
  "no options": ({ request }) => delete request.options,
  "a number for the uid": ({ request }) => (request.uid = 5),
};

describe("a weakening in an unusual review is not allowed without a word", () => {
  for (const [oddity, makeOdd] of Object.entries(oddities))
    test(oddity, () => {
      for (const [weakening, parts] of Object.entries(weakenings)) {
        const sent = structuredClone(review(parts));
        makeOdd(sent);
        const reading = readReview(JSON.stringify(sent));
        // What cannot be read as a request is denied by its uid, or answered with an error of HTTP.
        if (!("request" in reading)) continue;
        const decision = gate.validate(reading.request);
        assert.deepEqual(decision.ruleErrors ?? [], [], weakening);
        assert.ok(!decision.allowed || decision.warnings.length > 0, `${weakening}: ${JSON.stringify(decision)}`);
      }
    });
});

test("a subresource that is not registered is refused, with what to do, and never taken for the object", () => {
  for (const subResource of ["scale", "eviction", "binding", "token", "resize"]) {
    const reading = readReview(JSON.stringify(review({ oldObject: strict, object: strict, subResource })));
    assert.ok("problem" in reading, subResource);
    assert.match(reading.problem, new RegExp(`subresource "${subResource}"; remove it from the resources`));
  }
});
