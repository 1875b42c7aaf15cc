import { setImmediate as nextTurn } from "node:timers/promises";
import { answer, type WebhookPath } from "../../admission/answer.ts";
import { createGate } from "../../admission/gate.ts";
import { readReview } from "../../admission/review.ts";
import { groupVersionKind, metadataOf } from "../../demo/api-server-client.ts";
import { tour } from "../../demo/tour.ts";
import type { ReadinessCheck } from "../../http/readiness.ts";
import { loadPolicies } from "../../policy/load.ts";
import { defaultProfile, findProfile } from "../../policy/profiles.ts";
import { rules } from "../../rules/index.ts";
import { fileMeshOf } from "../../sources/manifests/file-mesh.ts";
import type { Manifest } from "../../sources/manifests/manifests.ts";
import { isPolicy } from "../policy-options.ts";

export interface WarmUpOptions {
  /** Monotonic time in milliseconds. */
  readonly now: () => number;
  /** Aborted if the server stops before it was ready. */
  readonly stop: AbortSignal;
}

export interface WarmedUp {
  /** The number of evaluated reviews. */
  readonly reviews: number;
  readonly milliseconds: number;
  /** The error that ended the warm-up early, which is a bug in Meshward; real reviews are answered anyway. */
  readonly error?: string;
}

export interface WarmUp {
  /** The check for /readyz, which has a problem until the warm-up ends. */
  readonly check: ReadinessCheck;
  /** Never rejects. */
  run(options: WarmUpOptions): Promise<WarmedUp>;
}

/** Twice the reviews of the tour. The CPU time of the first real review decreases from 6 ms to 0.6 ms, and not further with more. */
const wantedReviews = 200;
/**
 * The time limit of the warm-up. If failurePolicy is Fail and this is the only replica, the mesh cannot be changed before
 * the server is ready, which is worse than slow first reviews.
 */
const longestMs = 3_000;

/**
 * Evaluates the reviews of the tour with a separate mesh before the first real review, because Node compiles code when it
 * is first run. These reviews are not logged or counted.
 */
export function createWarmUp(): WarmUp {
  let isDone = false;
  return {
    check: { name: "warmed-up", problem: () => (isDone ? undefined : "evaluating built-in reviews first") },
    async run({ now, stop }) {
      const start = now();
      let reviews = 0;
      const told = () => ({ reviews, milliseconds: Math.round(now() - start) });
      try {
        for (const judge of await rehearsal()) {
          if (stop.aborted || now() - start > longestMs) break;
          judge();
          reviews++;
          // Real reviews and probes are answered meanwhile.
          await nextTurn();
        }
        return told();
      } catch (error) {
        return { ...told(), error: error instanceof Error ? error.message : String(error) };
      } finally {
        isDone = true;
      }
    },
  };
}

/** One call for each review: each object of the tour is created, updated and deleted, repeatedly. */
async function rehearsal(): Promise<readonly (() => void)[]> {
  const { manifests } = await tour();
  const profile = findProfile(defaultProfile);
  if ("problem" in profile) throw new Error(profile.problem);
  const { policies } = loadPolicies(manifests.filter(isPolicy), rules, profile.profile);
  const { mesh } = fileMeshOf(manifests, { defaultNamespace: "default" });
  const gate = createGate({ mesh: () => mesh, policies: () => policies, rules });
  const judge = (path: WebhookPath, body: Buffer) => {
    const reading = readReview(body);
    if ("problem" in reading) throw new Error(`a built-in review cannot be read: ${reading.problem}`);
    const decision = path === "/mutate" ? gate.mutate(reading.request) : gate.validate(reading.request);
    JSON.stringify(answer(reading.request.uid, decision, path));
  };
  const calls = manifests
    .filter((manifest) => !isPolicy(manifest))
    .flatMap((manifest) =>
      reviewsOf(manifest).map(
        ({ path, body }) =>
          () =>
            judge(path, body),
      ),
    );
  return Array.from({ length: Math.ceil(wantedReviews / calls.length) }, () => calls)
    .flat()
    .slice(0, wantedReviews);
}

interface BuiltInReview {
  readonly path: WebhookPath;
  readonly body: Buffer;
}

/** The requests as the API server would send them, with the fields that a gate reads. */
function reviewsOf({ raw }: Manifest): readonly BuiltInReview[] {
  const { name, namespace = "" } = metadataOf(raw);
  const request = { kind: groupVersionKind(raw), name, namespace, userInfo: { username: "warm-up", groups: [] } };
  const steps = [
    { operation: "CREATE", object: raw },
    { operation: "UPDATE", object: raw, oldObject: { ...raw, spec: {} } },
    { operation: "DELETE", oldObject: raw },
  ];
  const paths: readonly WebhookPath[] = raw["kind"] === "Namespace" ? ["/mutate", "/validate"] : ["/validate"];
  return steps.flatMap((step) => {
    const review = {
      apiVersion: "admission.k8s.io/v1",
      kind: "AdmissionReview",
      request: { uid: "warm-up", ...request, ...step },
    };
    return paths.map((path) => ({ path, body: Buffer.from(JSON.stringify(review)) }));
  });
}
