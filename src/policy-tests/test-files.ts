import { keptFieldsOf } from "../custom-rules/in-force.ts";
import { dirname, isAbsolute, join } from "node:path";
import type { ValidateFunction } from "ajv";
import { MemoryApiServer } from "../demo/memory-api-server.ts";
import type { KubernetesObject } from "../demo/api-server-client.ts";
import type { Rule } from "../engine/rule.ts";
import { formatPath } from "../kube/field-path.ts";
import type { Path } from "../kube/read.ts";
import { documentValidator } from "../policy/document-validator.ts";
import { isPolicySource } from "../policy/load.ts";
import type { Policies } from "../policy/policies.ts";
import { defaultProfile, findProfile } from "../policy/profiles.ts";
import { severalDefinitions } from "../sources/manifests/environments.ts";
import { fileMeshOf } from "../sources/manifests/file-mesh.ts";
import { readManifests, type SourceError } from "../sources/manifests/manifests.ts";
import type { Renderer } from "../sources/manifests/render.ts";
import { readSettingsFile, type SettingsFile } from "../sources/manifests/settings-file.ts";
import { suggestion } from "../text/nearest.ts";
import type { PreparedCase } from "./run-case.ts";
import { policyTestSchema } from "./schema.ts";
import { faultsOfStated } from "./stated-requests.ts";
import type { Expectation, Given, TestCase, TestFile } from "./test-file.ts";

/** A file of tests that can run. A case with errors is left out of `cases`. */
export interface PreparedFile {
  readonly file: string;
  readonly name: string;
  readonly cases: readonly (PreparedCase & { readonly line: number | null })[];
  readonly errors: readonly SourceError[];
  /** Every file and folder that the tests read. */
  readonly reads: readonly string[];
}

/** The policies for some paths and a profile, with the documents that are not in force. */
export type LoadPolicies = (
  paths: readonly string[],
  profile: string,
) => Promise<{
  readonly policies: Policies;
  /** The MeshwardIntents among the documents, which are objects of the mesh. */
  readonly intents: readonly KubernetesObject[];
  readonly rules: readonly Rule[];
  readonly errors: readonly SourceError[];
}>;

let compiled: ValidateFunction | undefined;
function validator(): ValidateFunction {
  return (compiled ??= documentValidator().compile(policyTestSchema()));
}

/**
 * Reads a file of tests with everything that it names; with a renderer, charts and kustomizations are rendered. Never throws, but for
 * what `load` throws.
 */
export async function readTestFile(file: string, load: LoadPolicies, renderer?: Renderer): Promise<PreparedFile> {
  const settings = await readSettingsFile(file, validator());
  if (settings.errors.length > 0) return { file, name: file, cases: [], errors: settings.errors, reads: [file] };
  return prepareTests(file, { tests: settings.value as TestFile, errorAt: settings.errorAt }, load, renderer);
}

/** A file of tests as it was read, or as it will be written. */
export interface Tests extends Pick<SettingsFile, "errorAt"> {
  readonly tests: TestFile;
}

/** Reads everything that a file of tests names. Never throws, but for what `load` throws. */
export async function prepareTests(
  file: string,
  { tests, errorAt }: Tests,
  load: LoadPolicies,
  renderer?: Renderer,
): Promise<PreparedFile> {
  const reading = new Reading(file, errorAt, renderer);
  const { profile = defaultProfile } = tests;
  const found = findProfile(profile);
  if ("problem" in found) {
    const errors = [errorAt(["profile"], `profile: ${found.problem}`)];
    return { file, name: file, cases: [], errors, reads: [file] };
  }
  const { policies, intents, rules, errors } = await load(reading.paths(tests.policies), profile);
  const server = new MemoryApiServer(keptFieldsOf(rules));
  for (const raw of intents) server.putApplied(raw);
  for (const raw of await reading.objectsIn(tests.mesh, ["mesh"])) server.putApplied(raw);
  const own = reading.withPlaces(errors, tests.policies);
  const isBroken = own.length + reading.errors.length > 0;
  const cases: PreparedFile["cases"][number][] = [];
  for (const [i, test] of tests.cases.entries()) {
    const prepared = await reading.caseOf(test, ["cases", i], { server, rules, policies, time: tests.time });
    const line = errorAt(["cases", i], "").line ?? null;
    if (!isBroken && prepared !== undefined) cases.push({ ...prepared, line });
  }
  return { file, name: tests.name ?? file, cases, errors: [...own, ...reading.errors], reads: reading.reads };
}

/** What the cases of a file share. */
interface Shared extends Pick<PreparedCase, "server" | "policies" | "rules"> {
  readonly time: string | undefined;
}

/** Reads what a file of tests names, and keeps the errors. */
class Reading {
  readonly errors: SourceError[] = [];
  readonly reads: string[];
  readonly #folder: string;
  readonly #renderer: Renderer | undefined;
  readonly #errorAt: SettingsFile["errorAt"];
  readonly #objects = new Map<string, readonly KubernetesObject[]>();
  /** For each path, that several files in it define an object. */
  readonly #several = new Map<string, string | undefined>();
  /** The first case of each name. */
  readonly #named = new Map<string, Path>();

  constructor(file: string, errorAt: SettingsFile["errorAt"], renderer: Renderer | undefined) {
    this.#renderer = renderer;
    this.#folder = dirname(file);
    this.#errorAt = errorAt;
    this.reads = [file];
  }

  /** Paths as messages show them: relative if the path of the test file is. */
  paths(paths: readonly string[] = []): readonly string[] {
    const found = paths.map((path) => (isAbsolute(path) ? path : join(this.#folder, path)));
    this.reads.push(...found);
    return found;
  }

  /** Errors about a whole path are at the line that names it. */
  withPlaces(errors: readonly SourceError[], paths: readonly string[] = []): readonly SourceError[] {
    const shown = paths.map((path) => (isAbsolute(path) ? path : join(this.#folder, path)));
    return errors.map((error) => {
      const i = error.line === undefined ? shown.indexOf(error.file) : -1;
      return i === -1 ? error : this.#errorAt(["policies", i], `policies[${i}]: ${error.file}: ${error.message}`);
    });
  }

  async objectsIn(paths: readonly string[] = [], at: Path): Promise<readonly KubernetesObject[]> {
    const objects: KubernetesObject[] = [];
    for (const [i, path] of paths.entries()) {
      objects.push(...(await this.#read(path, [...at, i], "mesh")));
      const several = this.#several.get(path);
      if (several !== undefined)
        this.#report([...at, i], `${several}, and a mesh has only one of them: give the path of one environment`);
    }
    return objects;
  }

  /**
   * The objects of one path, without policies, which a folder may contain too. A change of nothing but policies and exceptions
   * asks who may write them.
   */
  async #read(path: string, at: Path, what: "mesh" | "change"): Promise<readonly KubernetesObject[]> {
    const [shown = path] = this.paths([path]);
    const known = this.#objects.get(`${what} ${shown}`);
    if (known !== undefined) return known;
    const { manifests, errors, empty } = await readManifests([shown], { renderer: this.#renderer });
    const others = manifests.filter(({ raw }) => !isPolicySource(raw));
    const objects = (what === "change" && others.length === 0 ? manifests : others).map(({ raw }) => raw);
    this.#objects.set(`${what} ${shown}`, objects);
    this.#several.set(path, severalDefinitions(fileMeshOf(manifests, { defaultNamespace: "default" })));
    for (const { file, line, message } of [...errors, ...empty])
      this.#report(at, `${file}${line === undefined ? "" : `:${line}`}: ${message}`);
    if (objects.length + errors.length + empty.length === 0) this.#report(at, `${shown} contains no object`);
    return objects;
  }

  /** A case with its objects; undefined if some cannot be read. */
  async caseOf(test: TestCase, at: Path, { server, time, ...shared }: Shared): Promise<PreparedCase | undefined> {
    const before = this.errors.length;
    this.#checkName(test.name, at);
    const own = test.mesh === undefined ? server : server.copy();
    for (const raw of await this.objectsIn(test.mesh, [...at, "mesh"])) own.putApplied(raw);
    if (test.apply === undefined && test.delete === undefined && !isOfMeshAlone(test.expect))
      this.#report(at, `${formatPath(at)}: the change is missing: give apply, delete or both`);
    for (const fault of faultsOfStated(test.expect, own.mesh.settings)) {
      const place = ["expect", ...fault.at];
      this.#report([...at, ...place], `${formatPath(place)}: ${fault.message}`);
    }
    this.#checkExpected(test, at, shared);
    const applied = await this.#given(test.apply, [...at, "apply"]);
    const deleted = await this.#given(test.delete, [...at, "delete"]);
    const sent = new Date(test.time ?? time ?? Date.now());
    return this.errors.length > before ? undefined : { test, server: own, applied, deleted, time: sent, ...shared };
  }

  /** Reports and `--run` tell cases apart by their names. A case that is about to be written has none yet. */
  #checkName(name: string, at: Path): void {
    const first = this.#named.get(name);
    if (first === undefined) this.#named.set(name, at);
    if (first === undefined || name === "") return;
    const where = `the case of line ${this.#errorAt(first, "").line}`;
    const message = `${formatPath(at)}.name: ${where} is named ${JSON.stringify(name)} too; give each case a name of its own`;
    this.#report([...at, "name"], message);
  }

  async #given(given: Given | readonly Given[] | undefined, at: Path): Promise<readonly KubernetesObject[]> {
    const objects: KubernetesObject[] = [];
    for (const one of given === undefined ? [] : isList(given) ? given : [given])
      objects.push(...(typeof one === "string" ? await this.#read(one, at, "change") : [one]));
    return objects;
  }

  /** A rule or an exception that does not exist would never be seen, and an empty list would always be right. */
  #checkExpected({ expect }: TestCase, at: Path, { rules, policies }: Pick<Shared, "rules" | "policies">): void {
    const { allowed, deniedBy = [] } = expect;
    if (allowed === true && deniedBy.length > 0)
      this.#report(
        [...at, "expect", "deniedBy"],
        "expect: allowed: true and deniedBy contradict each other; remove one",
      );
    this.#checkExceptions(expect, at, policies);
    this.#checkRules(expect, at, rules);
  }

  #checkExceptions({ acceptedBy = [] }: Expectation, at: Path, policies: Policies): void {
    const exceptions = policies.exceptions.map(({ namespace, name }) => `${namespace}/${name}`);
    for (const [i, name] of acceptedBy.entries()) {
      if (exceptions.includes(name)) continue;
      const hint = suggestion(name, exceptions) || "; write NAMESPACE/NAME of one in the policies of this file";
      const message = `expect.acceptedBy: there is no MeshwardException ${JSON.stringify(name)}${hint}`;
      this.#report([...at, "expect", "acceptedBy", i], message);
    }
  }

  #checkRules({ deniedBy = [], warnedBy = [] }: Expectation, at: Path, rules: readonly Rule[]): void {
    const ids = rules.map(({ id }) => id);
    for (const [field, named] of Object.entries({ deniedBy, warnedBy }))
      for (const [i, id] of named.entries()) {
        if (ids.includes(id)) continue;
        const hint = suggestion(id, ids) || "; `meshward rules` lists them";
        this.#report([...at, "expect", field, i], `expect.${field}: there is no rule ${JSON.stringify(id)}${hint}`);
      }
  }

  #report(at: Path, message: string): void {
    this.errors.push(this.#errorAt(at, message));
  }
}

/** What becomes of requests can be asked of the mesh as it is; everything else is about a change. */
const isOfMeshAlone = (expect: Expectation): boolean => Object.keys(expect).join() === "holds";
const isList = (given: Given | readonly Given[]): given is readonly Given[] => Array.isArray(given);
