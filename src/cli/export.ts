import { Command, InvalidArgumentError } from "commander";
import { rulesInForce } from "../custom-rules/in-force.ts";
import { yamlOf } from "../deploy/yaml.ts";
import { rules } from "../rules/index.ts";
import { UsageError } from "../text/usage-error.ts";
import { admissionPolicies, type Exported } from "../vap/policies.ts";
import { defaultMeshSettings } from "../view/settings.ts";
import { clusterDomainOption } from "./mesh-option.ts";
import { policiesOf, policiesOption, type PolicyOptions, profileOption, shownPolicies } from "./policy-options.ts";
import { shownErrors } from "./source-errors.ts";
import { type ExitCode, tellNote, type Terminal } from "./terminal.ts";

interface VapOptions extends PolicyOptions {
  readonly istioNamespace: string;
  readonly revision: readonly string[];
  readonly clusterDomain: string;
}

export function exportCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  const vap = new Command("vap")
    .description(
      "print the rules that one object decides alone as ValidatingAdmissionPolicies of Kubernetes, for kubectl apply -f -",
    )
    .option("--istio-namespace <name>", "Istio's root namespace", name, defaultMeshSettings.rootNamespace)
    .option("--revision <name...>", "revisions of the control planes", [...defaultMeshSettings.revisions])
    .addOption(clusterDomainOption())
    .addOption(policiesOption())
    .addOption(profileOption())
    .action(async (options: VapOptions) => finish(await exportVap(options, terminal)));
  return new Command("export").description("write rules and policies in the form of other tools").addCommand(vap);
}

/** Prints YAML. Throws a UsageError if a policy has errors, because its rules would be missing without a word. */
async function exportVap(options: VapOptions, terminal: Terminal): Promise<ExitCode> {
  const { policies, errors } = await policiesOf(options);
  if (errors.length > 0)
    throw new UsageError(`${shownPolicies(options)} has errors, correct them first:\n${shownErrors(errors)}`);
  const exported = admissionPolicies({
    rules: rulesInForce(rules, policies),
    policies,
    rootNamespace: options.istioNamespace,
    revisions: options.revision,
    domain: options.clusterDomain,
    now: new Date(),
  });
  terminal.out(`${comment(exported)}${yamlOf(exported.objects)}`);
  const { length } = exported.left;
  tellNote(`${exported.exported.length} rules are exported, and ${length} are not; the first lines say why`, terminal);
  if (exported.until !== undefined)
    tellNote(`an exception in it ends at ${exported.until}; export it again then, because CEL has no clock`, terminal);
  return 0;
}

function comment({ exported, left, until }: Exported): string {
  const lines = [
    "ValidatingAdmissionPolicies with rules of Meshward, written by meshward export vap.",
    ...(until === undefined ? [] : [`Valid until ${until}, when an exception in it ends.`]),
    "Exported:",
    ...exported.map(
      ({ rule, modes, stricter }) =>
        `  ${rule}: ${modes.join(", ")}${stricter === undefined ? "" : ` (also ${stricter})`}`,
    ),
    "Not exported:",
    ...left.map(({ rule, because }) => `  ${rule}: ${because}`),
  ];
  return lines.map((line) => `# ${line}\n`).join("");
}

function name(text: string): string {
  if (/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(text)) return text;
  throw new InvalidArgumentError("expected the name of a namespace.");
}
