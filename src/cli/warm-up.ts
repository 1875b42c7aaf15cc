import { setImmediate as nextTurn } from "node:timers/promises";
import { answer, type WebhookPath } from "../admission/answer.ts";
import { createGate } from "../admission/gate.ts";
import { readReview } from "../admission/review.ts";
import { groupVersionKind, metadataOf } from "../demo/api-server-client.ts";
import { tour } from "../demo/story.ts";
import type { ReadinessCheck } from "../http/readiness.ts";
import { loadPolicies } from "../policy/load.ts";
import { defaultProfile, findProfile } from "../policy/profiles.ts";
import { rules } from "../rules/index.ts";
import { fileMeshOf } from "../sources/manifests/file-mesh.ts";
import type { Manifest } from "../sources/manifests/manifests.ts";
import { isPolicy } from "./policy-options.ts";

export interface WarmUpOptions {
  /** Milliseconds that only grow. */
  readonly now: () => number;
  /** Aborted: the server stops before it was ready. */
  readonly stop: AbortSignal;
}

export interface WarmedUp {
  /** How many were judged. */
  readonly reviews: number;
  readonly milliseconds: number;
  /** What ended it too early, which is a defect of Meshward; real reviews are answered all the same. */
  readonly error?: string;
}

export interface WarmUp {
  /** For /readyz: has a problem until the end. */
  readonly check: ReadinessCheck;
  /** Never rejects. */
  run(options: WarmUpOptions): Promise<WarmedUp>;
}

/** Twice what the tour gives: the CPU of the first real review falls from 6 ms to 0.6 ms, and no further with more. */
const wantedReviews = 200;
/**
 * A machine that is not done by then is so slow that its first reviews are the lesser trouble: where failurePolicy is
 * Fail and this is the only replica, nobody can change the mesh before it is ready.
 */
const longestMs = 3_000;

/**
 * Judges what the tour applies, over a mesh of its own, before the first real review comes: Node compiles code when it
 * is first run. Nothing of it is logged, counted or sent.
 */
export function createWarmUp(): WarmUp {
  let isDone = false;
  return {
    check: { name: "warmed-up", problem: () => (isDone ? undefined : "judging built-in reviews first") },
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

/** One call a review, as many as are wanted: each object of the tour is created, updated and deleted, again and again. */
async function rehearsal(): Promise<readonly (() => void)[]> {
  const { chapters } = await tour();
  const manifests = chapters.flatMap((chapter) => chapter.manifests);
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

/** As the API server would send them, with what a gate looks at. */
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
