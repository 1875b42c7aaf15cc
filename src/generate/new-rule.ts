import { parseArgs } from "node:util";
import packageJson from "../../package.json" with { type: "json" };
import { UsageError } from "../text/usage-error.ts";
import { root } from "./files.ts";
import { write } from "./output.ts";
import { draftRule } from "./rule-draft.ts";
import { findRules, ruleList } from "./rule-files.ts";

const usage = "npm run new-rule -- virtual-service-hosts-empty --subject VirtualService[,<Kind>]";

/** Writes a rule with its fixture, both of which pass as they are, and the list of rules with it. */
try {
  const { id, kinds } = asked();
  const { found, faults } = await findRules(root);
  if (faults.length > 0) throw new UsageError(faults.join("\n"));
  for (const file of draftRule({ id, kinds, since: packageJson.version }, found)) write(root, file);
  const { found: all } = await findRules(root);
  write(root, { path: "src/rules/index.ts", content: ruleList(all) });
  process.stdout.write(nextSteps(id));
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`new-rule: ${error.message}\n`);
  process.exitCode = 2;
}

function asked(): { readonly id: string; readonly kinds: readonly string[] } {
  const options = { subject: { type: "string", multiple: true } } as const;
  try {
    const { positionals, values } = parseArgs({ options, allowPositionals: true });
    const [id, ...others] = positionals;
    if (id === undefined || others.length > 0) throw new UsageError(`give one id: ${usage}`);
    const kinds = (values.subject ?? []).flatMap((list) => list.split(",")).map((kind) => kind.trim());
    return { id, kinds: kinds.filter((kind) => kind !== "") };
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${error instanceof Error ? error.message : String(error)}: ${usage}`);
  }
}

function nextSteps(id: string): string {
  return `
1. npm run test:rule -- ${id}
   passes now; write the mistake into the fixture and the check into the rule until it passes again.
   docs/catalogue.md lists what a rule can read of other objects.
2. npm run generate
   writes the rule's page, and says what is wrong with the metadata.
3. a world in a file test/engine/*-shapes.ts
   in which the rule finds something; npm test compares what the rule costs there and in a world of twice the size.
4. npm run format && npm run check
`;
}
