import { rulesInForce } from "../../custom-rules/in-force.ts";
import { existsSync, writeFileSync } from "node:fs";
import { dirname, relative, sep } from "node:path";
import { Option } from "commander";
import { schemaUrl } from "../../config/rule-page.ts";
import { decidedCase, type OpenCase, testFileText } from "../../policy-tests/first-test.ts";
import type { TestCase, TestFile } from "../../policy-tests/test-file.ts";
import { prepareTests } from "../../policy-tests/test-files.ts";
import { defaultProfile } from "../../policy/profiles.ts";
import { rules } from "../../rules/index.ts";
import type { Report } from "../../report/report.ts";
import type { Renderer } from "../../sources/manifests/render.ts";
import { unwritable } from "../../text/file-errors.ts";
import { UsageError } from "../../text/usage-error.ts";
import { policiesOf, type PolicyOptions } from "../policy-options.ts";
import type { RequesterOptions } from "./requester-options.ts";
import { shownErrors } from "../source-errors.ts";
import { tellNote, type Terminal } from "../terminal.ts";

export const writeTestOption = (): Option =>
  new Option(
    "--write-test <file>",
    "write the decision about these manifests to this file, as a first policy test: with --mesh one case for each path, else one case",
  );

export interface WriteTestOptions extends PolicyOptions, RequesterOptions {
  readonly writeTest?: string;
  readonly mesh?: string;
  readonly since?: string;
  readonly delete?: string;
}

/** Throws a UsageError if the decision cannot be repeated by a test, or the file is there already. */
export function assertTestable(paths: readonly string[], { writeTest: file, mesh, since }: WriteTestOptions): void {
  if (file === undefined) return;
  const refused = (why: string) => new UsageError(`--write-test ${file}: ${why}`);
  if (existsSync(file)) throw refused("the file exists: add a case to it, or give another path");
  if (since !== undefined) throw refused("a test cannot read a git revision: give the mesh as files, with --mesh");
  if (mesh === "cluster")
    throw refused("a test cannot read a cluster: save it with meshward capture, and give that file with --mesh");
  if (paths.includes("-")) throw refused("a test cannot read standard input: write the manifests to a file");
}

const refusedElsewhere =
  "it has what Meshward answers to the API server, and such an object is refused by the API server itself, or by istiod's webhook";

interface Checked {
  readonly renderer: Renderer | undefined;
  /** What the check has found, some of which a test cannot have. */
  readonly report: Pick<Report, "findings">;
  readonly terminal: Terminal;
}

/** Asks the admission path of `serve` for the decision, and writes it. Throws a UsageError if that is not possible. */
export async function writeTest(
  paths: readonly string[],
  file: string,
  options: WriteTestOptions,
  { renderer, report, terminal }: Checked,
): Promise<void> {
  const { policies, profile, mesh } = options;
  const fromFile = (path: string) => relative(dirname(file), path).replaceAll(sep, "/") || ".";
  const open = openCases(paths.map(fromFile), options, fromFile);
  const tests: TestFile = {
    ...(profile === defaultProfile ? {} : { profile }),
    ...(policies === undefined ? {} : { policies: policies.map(fromFile) }),
    ...(mesh === undefined ? {} : { mesh: [fromFile(mesh)] }),
    cases: open.map((one) => ({ name: "", ...one, expect: {} })),
  };
  const prepared = await prepareTests(
    file,
    { tests, errorAt: (_path, message) => ({ file, message }) },
    async (some, name) => {
      const found = await policiesOf({ policies: some, profile: name });
      return { ...found, rules: rulesInForce(rules, found.policies) };
    },
    renderer,
  );
  if (prepared.errors.length > 0)
    throw new UsageError(`--write-test ${file}: nothing is written:\n${shownErrors(prepared.errors)}`);
  const decided = await Promise.all(prepared.cases.map((one, i) => decidedCase(open[i] ?? {}, one)));
  const cases = withNamesOfTheirOwn(decided);
  try {
    writeFileSync(file, testFileText({ ...tests, cases }, schemaUrl("test.schema.json")));
  } catch (error) {
    throw new UsageError(`--write-test ${file} cannot be written: ${unwritable(error)}`);
  }
  if (report.findings.some(({ rule, mode }) => rule === "object-invalid" && mode === "deny"))
    tellNote(`${file} says nothing of object-invalid: ${refusedElsewhere}`, terminal);
}

/** Without a mesh, the paths are applied one after the other, because they are usually one set. */
function openCases(
  paths: readonly string[],
  { mesh, user, group, delete: deleted }: WriteTestOptions,
  fromFile: (path: string) => string,
): readonly OpenCase[] {
  const isBy = user !== undefined || group.length > 0;
  const by = isBy
    ? { by: { ...(user === undefined ? {} : { user }), ...(group.length === 0 ? {} : { groups: group }) } }
    : {};
  const [first = ""] = paths;
  const applied = mesh === undefined ? [paths.length === 1 ? first : paths] : paths;
  return [
    ...applied.map((apply) => ({ apply, ...by })),
    ...(deleted === undefined ? [] : [{ delete: fromFile(deleted), ...by }]),
  ];
}

/** Two paths can contain objects of one name, with the same decision. */
function withNamesOfTheirOwn(cases: readonly TestCase[]): readonly TestCase[] {
  const seen = new Map<string, number>();
  return cases.map((one) => {
    const count = (seen.get(one.name) ?? 0) + 1;
    seen.set(one.name, count);
    return count === 1 ? one : { ...one, name: `${one.name} (${count})` };
  });
}
