import { Command } from "commander";
import { Document, isScalar, visit } from "yaml";
import { draftsOf, type IntentDraft } from "../mesh/intents/draft.ts";
import { schemaUrl } from "../config/rule-page.ts";
import { knowledgeOfMesh } from "../sources/manifests/file-mesh.ts";
import { sideOf } from "../view/side.ts";
import { contextOption, kubeconfigOption } from "./cluster-options.ts";
import { clusterDomainOption, type MeshOptions, readMesh, requireNamespace } from "./mesh-option.ts";
import { type ExitCode, tellNote, type Terminal } from "./terminal.ts";

export interface IntentOptions extends MeshOptions {
  readonly fromMesh: string;
}

export function intentCommand(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  return new Command("intent")
    .description("write MeshwardIntents that hold today, to edit and to commit")
    .requiredOption(
      "--from-mesh <namespace>",
      "the namespace whose Services, and hosts of ServiceEntries, the intents are about",
    )
    .requiredOption("--mesh <path>", "the mesh; a file or folder of manifests, a capture, or the word cluster")
    .addOption(kubeconfigOption())
    .addOption(contextOption())
    .addOption(clusterDomainOption())
    .action(async (options: IntentOptions) => finish(await intent(options, terminal)));
}

/** Prints the intents as YAML. Throws a UsageError if the mesh has no such namespace, or cannot be read. */
export async function intent({ fromMesh, ...options }: IntentOptions, terminal: Terminal): Promise<ExitCode> {
  const { mesh: store } = await readMesh(options, terminal, {
    defaultNamespace: "default",
    knowledge: knowledgeOfMesh,
  });
  requireNamespace("--from-mesh", fromMesh, [store]);
  const drafts = draftsOf(fromMesh, sideOf(store));
  if (drafts.length === 0) {
    tellNote(
      `nothing is known to hold for any Service or ServiceEntry in ${fromMesh}, so no intent is written`,
      terminal,
    );
    return 0;
  }
  terminal.out(`${header}${drafts.map(shown).join("---\n")}`);
  return 0;
}

const header = `# yaml-language-server: $schema=${schemaUrl("policy.schema.json")}
# What holds today, written by meshward intent. Remove what nobody relies on, and commit the rest.
`;

/** Lists of words are on one line, as people write them. */
function shown(draft: IntentDraft): string {
  const document = new Document(draft, { aliasDuplicateObjects: false, compat: "yaml-1.1" });
  visit(document, {
    Seq(_key, list) {
      if (list.items.every((item) => isScalar(item))) list.flow = true;
    },
  });
  return document.toString({ lineWidth: 120, flowCollectionPadding: false });
}
