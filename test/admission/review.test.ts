import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { type AdmissionRequest, readReview } from "../../src/admission/review.ts";
import { reviewBody, virtualService } from "../contract/api-server.ts";

const uid = "705ab4f5-6393-11e8-b7cc-42010a800002";

function read(review: unknown) {
  return readReview(Buffer.from(JSON.stringify(review)));
}

function requestOf(review: unknown): AdmissionRequest {
  const reading = read(review);
  assert.ok("request" in reading, JSON.stringify(reading));
  return reading.request;
}

test("a create is read whole", () => {
  assert.deepEqual(requestOf(reviewBody({ dryRun: true })), {
    uid,
    kind: { group: "networking.istio.io", version: "v1", kind: "VirtualService" },
    subResource: "",
    name: "reviews",
    namespace: "shop",
    operation: "CREATE",
    user: { name: "jane", groups: ["developers"] },
    object: virtualService,
    oldObject: undefined,
    fieldManager: "kubectl-create",
    dryRun: true,
  });
});

test("a deletion of a collection takes its name from the old object", () => {
  const request = requestOf(reviewBody({ operation: "DELETE", name: "", object: null, oldObject: virtualService }));
  assert.equal(request.name, "reviews");
  assert.equal(request.object, undefined);
  assert.deepEqual(request.oldObject, virtualService);
});

test("an object that has only a generateName has no name yet", () => {
  const object = { ...virtualService, metadata: { generateName: "reviews-", namespace: "shop" } };
  assert.equal(requestOf(reviewBody({ name: undefined, object })).name, "");
});

test("unknown fields, absent optional fields and another served version are no obstacle", () => {
  const object = { ...virtualService, apiVersion: "networking.istio.io/v1beta1" };
  const bare = { name: undefined, userInfo: undefined, options: undefined, dryRun: undefined, fromTheFuture: [1] };
  const request = requestOf({ ...reviewBody({ ...bare, object }), more: true });
  assert.deepEqual(request.user, { name: "", groups: [] });
  assert.equal(request.fieldManager, "");
  assert.equal(request.dryRun, false);
});

test("a status or finalize update is a change of the whole object", () => {
  for (const subResource of ["status", "finalize", "ephemeralcontainers"]) {
    const review = reviewBody({ operation: "UPDATE", oldObject: virtualService, subResource });
    assert.equal(requestOf(review).subResource, subResource);
  }
});

test("the same bytes give the same reading", () => {
  const bytes = Buffer.from(JSON.stringify(reviewBody()));
  assert.deepEqual(readReview(bytes), readReview(bytes));
});

test("__proto__ and constructor are keys like others", () => {
  const spec = '{"hosts":["a"],"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}';
  const json = JSON.stringify(reviewBody({ object: { ...virtualService, spec: "SPEC" } })).replace('"SPEC"', spec);
  const reading = readReview(Buffer.from(json));
  assert.ok("request" in reading);
  const read: unknown = reading.request.object?.spec;
  assert.ok(typeof read === "object" && read !== null && Object.hasOwn(read, "__proto__"));
  assert.equal(Object.getPrototypeOf(read), Object.prototype);
  assert.equal("polluted" in {}, false);
});

const noUid: readonly (readonly [string, string | Uint8Array, RegExp])[] = [
  ["empty", "", /the body is empty/],
  ["not JSON", "apiVersion: v1", /not JSON/],
  ["cut off", JSON.stringify(reviewBody()).slice(0, 200), /not JSON/],
  ["not UTF-8", Uint8Array.of(0x22, 0xff, 0x22), /not UTF-8/],
  ["null", "null", /the body is null/],
  ["a list", "[]", /the body is a list/],
  ["a string", '"review"', /the body is "review"/],
  ["no request", '{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}', /request is missing/],
  ["a request that is a list", JSON.stringify({ ...reviewBody(), request: [] }), /request is a list/],
  ["no uid", JSON.stringify(reviewBody({ uid: undefined })), /request\.uid is missing/],
  ["an empty uid", JSON.stringify(reviewBody({ uid: "" })), /request\.uid is ""/],
  ["a uid that is a number", JSON.stringify(reviewBody({ uid: 7 })), /request\.uid is 7/],
];

for (const [what, body, problem] of noUid) {
  test(`without a uid: ${what}`, () => {
    const reading = readReview(typeof body === "string" ? Buffer.from(body) : body);
    assert.ok("problem" in reading);
    assert.equal(reading.uid, "");
    assert.match(reading.problem, problem);
  });
}

const other = { ...virtualService, kind: "DestinationRule" };
const withUid: readonly (readonly [string, unknown, RegExp])[] = [
  [
    "v1beta1",
    { ...reviewBody(), apiVersion: "admission.k8s.io/v1beta1" },
    /apiVersion is "admission\.k8s\.io\/v1beta1"/,
  ],
  ["another kind", { ...reviewBody(), kind: "ConversionReview" }, /kind is "ConversionReview"/],
  ["no kind", reviewBody({ kind: undefined }), /request\.kind is missing/],
  ["a kind that is text", reviewBody({ kind: "VirtualService" }), /request\.kind is "VirtualService"/],
  ["a kind without a kind", reviewBody({ kind: { group: "", version: "v1" } }), /request\.kind\.kind is missing/],
  [
    "a kind without a version",
    reviewBody({ kind: { group: "", kind: "Namespace" } }),
    /request\.kind\.version is missing/,
  ],
  [
    "a group that is a number",
    reviewBody({ kind: { group: 1, version: "v1", kind: "A" } }),
    /request\.kind\.group is 1/,
  ],
  ["no operation", reviewBody({ operation: undefined }), /request\.operation is missing/],
  ["an unknown operation", reviewBody({ operation: "PATCH" }), /request\.operation is "PATCH"/],
  ["CONNECT", reviewBody({ operation: "CONNECT" }), /does not review CONNECT/],
  ["another subresource", reviewBody({ subResource: "scale" }), /subresource "scale"/],
  ["a create without an object", reviewBody({ object: null }), /request\.object is null; it is required on CREATE/],
  ["an object that is a list", reviewBody({ object: [] }), /request\.object is a list/],
  [
    "an update without the old object",
    reviewBody({ operation: "UPDATE" }),
    /request\.oldObject is null; it is required on UPDATE/,
  ],
  [
    "a deletion without the old object",
    reviewBody({ operation: "DELETE" }),
    /request\.oldObject is null; it is required on DELETE/,
  ],
  ["an object of another kind", reviewBody({ object: other }), /request\.object is of .* "DestinationRule", but/],
  ["an object without a kind", reviewBody({ object: { metadata: {} } }), /request\.object is of missing missing/],
  [
    "an object of another group",
    reviewBody({ object: { ...virtualService, apiVersion: "v1" } }),
    /request\.object is of "v1"/,
  ],
  ["an old object of another kind", reviewBody({ operation: "UPDATE", oldObject: other }), /request\.oldObject is of/],
  ["a name that is a number", reviewBody({ name: 1 }), /request\.name is 1/],
  ["a namespace that is a list", reviewBody({ namespace: [] }), /request\.namespace is a list/],
  ["a user that is text", reviewBody({ userInfo: "jane" }), /request\.userInfo is "jane"/],
  [
    "groups that are numbers",
    reviewBody({ userInfo: { username: "jane", groups: [1] } }),
    /groups is not a list of strings/,
  ],
  ["options that are text", reviewBody({ options: "all" }), /request\.options is "all"/],
  ["dryRun that is text", reviewBody({ dryRun: "true" }), /request\.dryRun is "true"/],
];

for (const [what, review, problem] of withUid) {
  test(`not judged: ${what}`, () => {
    const reading = read(review);
    assert.ok("problem" in reading, "it was read");
    assert.equal(reading.uid, uid);
    assert.match(reading.problem, problem);
  });
}

test("100,000 levels are refused by uid, lists and maps alike", () => {
  for (const [open, close] of [
    ["[", "]"],
    ['{"a":', "}"],
  ] as const) {
    const deep = `${open.repeat(100_000)}1${close.repeat(100_000)}`;
    const json = JSON.stringify(reviewBody({ object: { ...virtualService, spec: "SPEC" } })).replace('"SPEC"', deep);
    const reading = readReview(Buffer.from(json));
    assert.ok("problem" in reading);
    assert.equal(reading.uid, uid);
    assert.match(reading.problem, /nested/);
  }
});

test("a body of more objects and lists than any mesh object has is refused by its uid", () => {
  const wide = (count: number) =>
    reviewBody({ object: { ...virtualService, spec: Array.from({ length: count }, () => []) } });
  assert.ok("request" in read(wide(200_000)));
  assert.deepEqual(read(wide(250_000)), { uid, problem: "it contains more than 250000 objects and lists" });
});

test("1,000 levels are read", () => {
  const deep = `${"[".repeat(1_000)}${"]".repeat(1_000)}`;
  const json = JSON.stringify(reviewBody({ object: { ...virtualService, spec: "SPEC" } })).replace('"SPEC"', deep);
  assert.ok("request" in readReview(Buffer.from(json)));
});

test("any JSON in any field gives a request or a problem, and the uid where there is one", () => {
  const fields = Object.keys(reviewBody().request as object);
  const property = fc.property(fc.constantFrom(...fields), fc.jsonValue(), (field, value) => {
    const reading = read(reviewBody({ [field]: value }));
    const found = "request" in reading ? reading.request.uid : reading.uid;
    const sent = field === "uid" ? value : uid;
    assert.equal(found, typeof sent === "string" ? sent : "");
  });
  fc.assert(property, { numRuns: 500 });
});

test("any bytes give a problem", () => {
  const property = fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => "problem" in readReview(bytes));
  fc.assert(property, { numRuns: 300 });
});
