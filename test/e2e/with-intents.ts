import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { startControlPlane } from "./control-plane.ts";
import { binaries, type Environment, namespace, type Raw, send, succeeds } from "./environment.ts";
import { type MeshwardOptions, register, startMeshward } from "./meshward.ts";
import { until } from "./program.ts";

const definition = readFileSync(new URL("../../deploy/crds/meshwardintents.yaml", import.meta.url), "utf8");

/** An API server with the definition of intents and these objects, which Meshward knows. */
export interface WithIntents extends Environment {
  /** Waits until these intents would be stored without a word; the watch may not show the last objects yet. */
  hold(intents: readonly Raw[]): Promise<void>;
  close(): Promise<void>;
}

export async function startWithIntents(
  world: readonly Raw[],
  options: Pick<MeshwardOptions, "policies" | "args"> = {},
): Promise<WithIntents> {
  const plane = await startControlPlane({ binaries: binaries(), definitions: true });
  try {
    await succeeds(plane, ["apply", "-f", "-"], [namespace("istio-system")]);
    await succeeds(plane, ["apply", "-f", "-"], world);
    const { stderr } = await send(plane, ["apply", "--server-side", "-f", "-"], { input: definition });
    assert.doesNotMatch(stderr, /Error|Warning|invalid/, stderr);
    const meshward = await startMeshward({ plane, ...options });
    await meshward.ready();
    await register(plane, meshward);
    return {
      plane,
      meshward,
      async hold(objects) {
        await until(
          "the intents to hold",
          async () => {
            const output = await send(plane, ["apply", "--dry-run=server", "-f", "-"], { objects });
            return output.code === 0 && !output.stderr.includes("intent-not-held") ? true : undefined;
          },
          { everyMs: 250 },
        );
      },
      async close() {
        await meshward.stop();
        await plane.close();
      },
    };
  } catch (error) {
    await plane.close();
    throw error;
  }
}
