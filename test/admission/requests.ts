import assert from "node:assert/strict";
import { type AdmissionRequest, type Operation, readReview } from "../../src/admission/review.ts";

export type Raw = Readonly<Record<string, unknown>>;

export interface RequestParts {
  readonly object?: Raw | undefined;
  readonly oldObject?: Raw | undefined;
  readonly name?: string;
  readonly namespace?: string;
  readonly user?: string;
  readonly groups?: readonly string[];
  readonly fieldManager?: string;
  readonly dryRun?: boolean;
  readonly subResource?: string;
}

interface Shown {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata?: { readonly name?: string; readonly namespace?: string };
}

const usual = { user: "alice", groups: ["system:authenticated"], object: null, oldObject: null };

/** The AdmissionReview that the API server makes of objects; what it shows tells the operation. */
export function review(parts: RequestParts): Raw {
  const { object, oldObject, user, groups, subResource, dryRun, fieldManager } = { ...usual, ...parts };
  const shown = (object ?? oldObject) as unknown as Shown;
  const [version = "", group = ""] = shown.apiVersion.split("/").reverse();
  return {
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    request: {
      uid: "9c1a",
      kind: { group, version, kind: shown.kind },
      subResource,
      name: parts.name ?? shown.metadata?.name,
      namespace: parts.namespace ?? namespaceOf(shown),
      operation: operationOf(parts),
      userInfo: { username: user, groups },
      object,
      oldObject,
      dryRun,
      options: { fieldManager },
    },
  };
}

const namespaceOf = ({ kind, metadata }: Shown) => (kind === "Namespace" ? metadata?.name : metadata?.namespace);

function operationOf({ object, oldObject }: RequestParts): Operation {
  if (oldObject === undefined) return "CREATE";
  return object === undefined ? "DELETE" : "UPDATE";
}

/** The same, as the webhook's door reads it. */
export function reviewed(parts: RequestParts): AdmissionRequest {
  const reading = readReview(JSON.stringify(review(parts)));
  assert.ok("request" in reading, JSON.stringify(reading));
  return reading.request;
}
