import { Command, Help, type HelpConfiguration } from "commander";
import { homepage } from "../config/rule-page.ts";
import { hanging, leastRoom } from "../report/page.ts";
import { suggestion } from "../text/nearest.ts";

/** The groups of commands in `meshward --help`, by what somebody wants to do. */
const groups: Readonly<Record<string, readonly string[]>> = {
  "Look at manifests and meshes:": ["check", "audit", "explain", "can", "connections", "capture"],
  "Write policies:": ["rules", "test", "intent", "export"],
  "Run the webhook:": ["serve", "manifests", "doctor", "certs", "unregister"],
  "First steps:": ["demo", "completion", "help"],
};

/** The command `help`. That of commander answers an unknown command with the list of all, and does not say that it is unknown. */
export const helpCommand = (program: Command): Command =>
  new Command("help")
    .argument("[command...]")
    .description("describe a command")
    .helpOption(false)
    .helpGroup("First steps:")
    .action((names: readonly string[]) => {
      let command = program;
      for (const name of names) {
        const known = command.commands.map((one) => one.name());
        const found = command.commands.find((one) => one.name() === name);
        command = found ?? command.error(`error: unknown command '${name}'${suggestion(name, known)}`);
      }
      command.help();
    });

/** Examples below the help of a command; `meshward` is what they begin with. */
const examples: Readonly<Record<string, readonly string[]>> = {
  meshward: [
    "check overlays/prod",
    "check --since origin/main",
    "explain namespace/payments --mesh cluster",
    "audit --mesh cluster --output html=audit.html",
    'rules "RBAC: access denied"',
  ],
  check: [
    "check overlays/prod charts/shop",
    "check --since origin/main --format github",
    "check canary.yaml --mesh cluster",
    "kubectl kustomize overlays/prod | meshward check -",
  ],
  audit: [
    "audit --mesh cluster --namespace payments",
    "audit --mesh cluster --output html=audit.html",
    "audit --mesh cluster --what-if strict",
    "audit --diff yesterday.json today.json",
  ],
  explain: [
    "explain namespace/payments --mesh cluster",
    "explain deployment/payments/api --mesh cluster",
    "explain host api.payments --from shop --mesh cluster",
    "explain namespace/payments --mesh cluster --delete policy.yaml",
  ],
  can: [
    "can --from namespace/shop --to api.payments:80 --path /refunds --mesh cluster",
    "can --from outside --to api.payments:80 --mesh cluster",
  ],
  connections: [
    "connections --mesh cluster --namespace payments",
    "connections --mesh cluster --delete policy.yaml",
    "connections --mesh overlays/prod --since origin/main --format markdown",
  ],
  intent: ["intent --from-mesh payments --mesh cluster"],
  capture: ["capture --output mesh.json"],
  rules: ["rules virtual-service-weights-not-100", "rules weights --kind VirtualService", 'rules "503 NC"'],
  test: ["test policies/tests"],
  serve: [
    "serve --mesh mesh.yaml --self-signed",
    "serve --mesh cluster --namespace meshward-system --tls-secret meshward-tls --service meshward",
  ],
  manifests: ["manifests --profile observe | kubectl apply --server-side -f -"],
  demo: ["demo", "demo --chapter canary", "demo my-manifests/"],
};

/** What an exit code means. Numbers are those of `ExitCode`, and of processes that a signal ends. */
export const exitCodes: readonly { readonly code: string; readonly meaning: string }[] = [
  { code: "0", meaning: "success" },
  { code: "1", meaning: "check, audit: findings at or above --fail-on; test: a case that fails; can: no" },
  { code: "2", meaning: "the command could not run, or not on all of its input" },
  { code: "3", meaning: "can: only some of the requests, or undecided" },
  { code: "130", meaning: "ended by Ctrl-C; serve ends with 0 then, after its last answers" },
  { code: "143", meaning: "ended by SIGTERM; serve ends with 0 then, too" },
];

const after: Readonly<Record<string, string>> = {
  meshward: `Exit codes:
${exitCodes.map(({ code, meaning }) => `  ${code.padEnd(3)}  ${meaning}`).join("\n")}

Files and environment:
  meshward.yaml  settings of a repository, in the working folder or above
  KUBECONFIG     the cluster of --mesh cluster, as for kubectl
  NO_COLOR       no colours; FORCE_COLOR: colours also in a pipe

meshward help COMMAND describes a command. Everything else:
${homepage}/blob/main/docs/README.md`,
};

/** The examples of a command, as they are typed; none if it has none. */
export const exampleLines = (name: string): readonly string[] =>
  (examples[name] ?? []).map((line) => (line.includes("meshward ") ? line : `meshward ${line}`));

/**
 * How help is written: in groups, with examples, and on narrow terminals with each description below its term, so that no word
 * is broken. `columns` is infinite where nothing is wrapped.
 */
export function writeHelp(command: Command, columns: number): void {
  const name = command.name();
  command.configureHelp(layout(columns));
  for (const [group, names] of Object.entries(groups)) if (names.includes(name)) command.helpGroup(group);
  const lines = exampleLines(name);
  const parts = [
    ...(lines.length === 0 ? [] : [["Examples:", ...lines.map((line) => `  ${line}`)].join("\n")]),
    ...(after[name] ? [after[name]] : []),
  ];
  if (parts.length > 0) command.addHelpText("after", `\n${wrapped(parts.join("\n\n"), columns)}`);
}

/** Lines with a first column, or of one. */
const wrapped = (text: string, columns: number): string =>
  text
    .split("\n")
    .map((line) => {
      const [head = ""] = /^(?: +\S+ {2,}| +)?/.exec(line) ?? [];
      return hanging(head, line.slice(head.length), { columns: Number.isFinite(columns) ? columns : undefined });
    })
    .join("\n");

const wrapping = Object.assign(new Help(), { minWidthToWrap: leastRoom });

const layout = (columns: number): HelpConfiguration => ({
  minWidthToWrap: leastRoom,
  formatItem(term, termWidth, description, helper) {
    const isNarrow = description !== "" && columns - termWidth - 4 < leastRoom * 2;
    if (!isNarrow) return Help.prototype.formatItem.call(this, term, termWidth, description, helper);
    const below = wrapping.boxWrap(description, columns - 6).replaceAll("\n", "\n      ");
    return `  ${term}\n      ${below}`;
  },
  styleUsage: (usage) => wrapping.boxWrap(usage, columns - 7).replaceAll("\n", "\n       "),
});
