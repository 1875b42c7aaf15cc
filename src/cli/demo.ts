import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { createApiServerClient } from "../demo/api-server-client.ts";
import { registeredWebhooks } from "../demo/registered-webhooks.ts";
import { protectedNamespacesOf } from "../deploy/fail-closed.ts";
import { webhookConfigurations } from "../deploy/webhooks.ts";
import { rules } from "../rules/index.ts";
import type { Manifest } from "../sources/manifests/manifests.ts";
import { createLog } from "../telemetry/log.ts";
import { unwritable } from "../text/file-errors.ts";
import { UsageError } from "../text/usage-error.ts";
import { selfSigned } from "../tls/self-signed.ts";
import { isPolicy, policiesOf, policiesOption, type PolicyOptions, profileOption } from "./policy-options.ts";
import { shownError } from "./source-errors.ts";
import { MemoryApiServer } from "../demo/memory-api-server.ts";
import { type TourChapter, tour, userTour } from "../demo/tour.ts";
import { suggestion } from "../text/nearest.ts";
import { audit } from "./audit.ts";
import { TourClock, TourRun } from "./tour-run.ts";
import { defaultDocsUrl } from "../config/rule-page.ts";
import { type ExitCode, tellProblem, type Terminal } from "./terminal.ts";
import { startWebhook } from "./webhook.ts";

export function demoCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return new Command("demo")
    .description(
      "start the webhook locally, send it the tour or your manifests as the API server would, and print the answers",
    )
    .argument("[path]", "a file or folder of manifests, applied in order; default: the built-in tour")
    .option("--chapter <name>", "of the built-in tour, show only this chapter: its name or its number")
    .addOption(policiesOption())
    .addOption(profileOption())
    .action(async (path: string | undefined, options: DemoOptions) => finish(await demo(path, options, terminal)));
}

export interface DemoOptions extends PolicyOptions {
  readonly chapter?: string;
}

/**
 * Runs all chapters and returns; at a terminal, it waits after each. Throws a UsageError if the manifests contain nothing to
 * apply, or if there is no such chapter. Does not begin if the policies have errors.
 */
export async function demo(path: string | undefined, options: DemoOptions, terminal: Terminal): Promise<ExitCode> {
  const { chapters, manifests, errors } = path === undefined ? await tour() : await userTour(path);
  const only = options.chapter === undefined ? undefined : chapterNamed(options.chapter, path, chapters);
  const documents = manifests.filter(isPolicy);
  const loaded = await policiesOf(options, documents);
  for (const error of [...errors, ...loaded.errors]) tellProblem(shownError(error), terminal);
  if (loaded.errors.length > 0 || (errors.length > 0 && chapters.length === 0)) return 2;
  const folder = await temporaryFolder();
  const cluster = new MemoryApiServer();
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
    const audited = () => auditOf(cluster, { ...options, folder, documents }, terminal);
    await new TourRun({ cluster, client, clock, terminal, audited }).run(chapters, only);
  } finally {
    client.close();
    await webhook.close();
    await rm(folder, { recursive: true, force: true });
  }
  return errors.length > 0 ? 2 : 0;
}

/** By its name, or by its number from 1. Throws a UsageError that lists them. */
function chapterNamed(wanted: string, path: string | undefined, chapters: readonly TourChapter[]): TourChapter {
  if (path !== undefined) throw new UsageError("--chapter is for the built-in tour: leave out the path, or the option");
  const found = chapters.find(
    ({ name }, i) => name === wanted || `${i + 1}` === wanted || `${i + 1}-${name}` === wanted,
  );
  if (found !== undefined) return found;
  const names = chapters.map(({ name }) => name);
  const hint = suggestion(wanted, names) || `; they are ${names.join(", ")}`;
  throw new UsageError(`--chapter: the tour has no chapter ${JSON.stringify(wanted)}${hint}`);
}

/** What `meshward audit` prints about the stored objects. It reads files, as everywhere. */
async function auditOf(
  cluster: MemoryApiServer,
  { folder, documents, ...options }: DemoOptions & { readonly folder: string; readonly documents: readonly Manifest[] },
  terminal: Terminal,
): Promise<void> {
  const mesh = join(folder, "mesh.json");
  const policies = join(folder, "policies.json");
  const listOf = (items: readonly unknown[]) => JSON.stringify({ apiVersion: "v1", kind: "List", items });
  await writeFile(mesh, listOf(cluster.objects));
  await writeFile(policies, listOf(documents.map(({ raw }) => raw)));
  const given = options.policies ?? [];
  const limits = { clusterDomain: "cluster.local", ownerLabel: [], expires: "2099-12-31", failOn: "never" } as const;
  const report = { docsUrl: defaultDocsUrl, format: "text" } as const;
  await audit(
    {
      ...limits,
      ...report,
      profile: options.profile,
      mesh,
      policies: documents.length > 0 ? [...given, policies] : given,
    },
    terminal,
  );
}

async function temporaryFolder(): Promise<string> {
  try {
    return await mkdtemp(join(tmpdir(), "meshward-demo-"));
  } catch (error) {
    throw new UsageError(`cannot create a temporary folder in ${tmpdir()} (TMPDIR): ${unwritable(error)}`);
  }
}
