import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { styleText } from "node:util";
import { Command } from "commander";
import type { PatchOperation } from "../admission/review.ts";
import { type ApiServerClient, createApiServerClient } from "../demo/api-server-client.ts";
import { registeredWebhooks } from "../demo/registered-webhooks.ts";
import { protectedNamespacesOf } from "../deploy/fail-closed.ts";
import { webhookConfigurations } from "../deploy/webhooks.ts";
import { rules } from "../rules/index.ts";
import { kubectlText } from "../demo/kubectl-text.ts";
import type { Manifest } from "../sources/manifests/manifests.ts";
import { createLog } from "../telemetry/log.ts";
import { unwritable } from "../text/file-errors.ts";
import { UsageError } from "../text/usage-error.ts";
import { selfSigned } from "../tls/self-signed.ts";
import { isPolicy, policiesOf, policiesOption, type PolicyOptions, profileOption } from "./policy-options.ts";
import { shownError } from "./source-errors.ts";
import { type Outcome, MemoryApiServer } from "../demo/memory-api-server.ts";
import { type TourStep, nameOf, requestOf, tour, userSteps } from "../demo/tour.ts";
import { type ExitCode, tellProblem, type Terminal } from "./terminal.ts";
import { startWebhook } from "./webhook.ts";

export function demoCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return new Command("demo")
    .description(
      "start the webhook locally, send it the tour or your manifests as the API server would, and print the answers",
    )
    .argument("[path]", "a file or folder of manifests, applied in order; default: the built-in tour")
    .addOption(policiesOption())
    .addOption(profileOption())
    .action(async (path: string | undefined, options: PolicyOptions) => finish(await demo(path, options, terminal)));
}

/** Runs all steps and returns. Throws a UsageError if the manifests contain nothing to apply. */
export async function demo(path: string | undefined, options: PolicyOptions, terminal: Terminal): Promise<ExitCode> {
  const { steps, errors } = path === undefined ? await tour() : await userSteps(path);
  const documents = steps.flatMap(({ manifests }) => manifests.filter(isPolicy));
  const loaded = await policiesOf(options, documents);
  for (const error of [...errors, ...loaded.errors]) tellProblem(shownError(error), terminal);
  if (errors.length > 0 && steps.length === 0) return 2;
  const folder = await temporaryFolder();
  const cluster = new MemoryApiServer();
  for (const raw of loaded.intents) cluster.putApplied(raw);
  const { certificates } = await selfSigned({ folder, now: Date.now() });
  const webhook = await startWebhook({
    mesh: () => cluster.mesh,
    policies: () => loaded.policies,
    certificates,
    log: createLog("silent", "stderr"),
    host: "127.0.0.1",
    port: 0,
  });
  const clock = new TourClock();
  const url = `https://127.0.0.1:${webhook.port}`;
  const protectedNamespaces = protectedNamespacesOf(loaded.policies);
  const registration = webhookConfigurations(rules, { url, protectedNamespaces });
  const webhooks = await registeredWebhooks(registration, (name) => cluster.labelsOf(name));
  const ca = certificates.current().ca ?? "";
  const client = createApiServerClient({ url, ca, webhooks, now: () => clock.now() });
  try {
    terminal.out(`Meshward listens on ${url}. Each object is sent to it as the API server would send it.\n`);
    await new TourRun(cluster, client, clock, terminal).run(steps);
  } finally {
    client.close();
    await webhook.close();
    await rm(folder, { recursive: true, force: true });
  }
  return errors.length + loaded.errors.length > 0 ? 2 : 0;
}

async function temporaryFolder(): Promise<string> {
  try {
    return await mkdtemp(join(tmpdir(), "meshward-demo-"));
  } catch (error) {
    throw new UsageError(`cannot create a temporary folder in ${tmpdir()} (TMPDIR): ${unwritable(error)}`);
  }
}

/** A clock that advances by one second for each object, so that the order of creation decides which of two is older. */
class TourClock {
  #now = Date.parse("2026-01-01T09:00:00Z");
  now(): Date {
    return new Date(this.#now);
  }
  tick(): void {
    this.#now += 1000;
  }
}

class TourRun {
  readonly #cluster: MemoryApiServer;
  readonly #client: ApiServerClient;
  readonly #clock: TourClock;
  readonly #terminal: Terminal;
  readonly #counts = { unchanged: 0, allowed: 0, patched: 0, warned: 0, denied: 0 };

  constructor(cluster: MemoryApiServer, client: ApiServerClient, clock: TourClock, terminal: Terminal) {
    this.#cluster = cluster;
    this.#client = client;
    this.#clock = clock;
    this.#terminal = terminal;
  }

  async run(steps: readonly TourStep[]): Promise<void> {
    for (const step of steps) {
      const objects = step.manifests.filter((manifest) => !isPolicy(manifest));
      if (objects.length === 0) continue;
      this.#terminal.out(`\n${this.#style("bold", step.comment || step.file)}\n`);
      for (const manifest of objects) await this.#apply(manifest, step.file);
    }
    const { unchanged, allowed, patched, warned, denied } = this.#counts;
    const counts = `${allowed} allowed (${patched} of them patched, ${warned} with a warning), ${denied} denied, ${unchanged} unchanged`;
    this.#terminal.out(`\n${counts}; ${this.#cluster.size} objects are stored.\n`);
  }

  async #apply(manifest: Manifest, file: string): Promise<void> {
    const request = requestOf(manifest);
    const by = request.user === undefined ? "" : `   # as ${request.user.username}`;
    const verb = request.isDeletion ? "delete" : "apply";
    this.#terminal.out(`${this.#style("dim", `$ kubectl ${verb} -f ${file}   # ${nameOf(manifest)}${by}`)}\n`);
    this.#clock.tick();
    const outcome = await this.#cluster.request(request, this.#client);
    if (outcome === undefined) this.#terminal.out(`Error from server (NotFound): ${nameOf(manifest)} not found\n`);
    else this.#show(outcome, file);
  }

  #show({ submission, admission, ...sent }: Outcome, file: string): void {
    const { allowed, patch, warnings } = admission;
    if (sent.isUnchanged === true) this.#counts.unchanged++;
    else if (allowed) this.#counts.allowed++;
    else this.#counts.denied++;
    if (allowed && patch.length > 0) this.#counts.patched++;
    if (allowed && warnings.length > 0) this.#counts.warned++;
    for (const operation of patch) this.#terminal.out(`  patched: ${shownOperation(operation)}\n`);
    const text = kubectlText(submission, admission, file, sent);
    const coloured = text
      .split("\n")
      .map((line) => (line.startsWith("Warning: ") ? this.#style("yellow", line) : line));
    this.#terminal.out(`${allowed ? coloured.join("\n") : this.#style("red", coloured.join("\n"))}\n`);
  }

  #style(format: "bold" | "dim" | "red" | "yellow", text: string): string {
    return this.#terminal.colour ? styleText(format, text, { validateStream: false }) : text;
  }
}

const shownOperation = (operation: PatchOperation): string =>
  `${operation.op} ${operation.path}${"value" in operation ? ` ${JSON.stringify(operation.value)}` : ""}`;
