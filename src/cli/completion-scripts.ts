import type { Command, Option } from "commander";

// Completion scripts are generated from the commands, so that they cannot differ from them. They contain everything, and do not
// start Meshward while somebody types.

export const shells = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof shells)[number];

interface CompletedOption {
  /** `--format`, and `-o` if there is one. */
  readonly flags: readonly string[];
  readonly description: string;
  /** Whether a value follows. Without choices it is completed as a file. */
  readonly takesValue: boolean;
  readonly choices: readonly string[];
  /** Whether a file can stand in the place of a choice. */
  readonly orFile: boolean;
}

interface CompletedCommand {
  readonly name: string;
  readonly description: string;
  readonly options: readonly CompletedOption[];
  /** The values of the first argument; empty: files. */
  readonly choices: readonly string[];
}

/**
 * Values that the commands themselves do not list: of first arguments by command, and of options by flag, or by command and
 * flag (`connections --output`).
 */
export interface KnownValues {
  readonly arguments: Readonly<Record<string, readonly string[]>>;
  readonly options: Readonly<Record<string, readonly string[]>>;
}

/** The script for a shell. */
export function completionScript(shell: Shell, program: Command, values: KnownValues): string {
  const commands = program.commands.map((command): CompletedCommand => {
    const options = [command, ...command.commands].flatMap((one) => one.createHelp().visibleOptions(one));
    const choices = values.arguments[command.name()] ?? firstWords(command);
    return {
      name: command.name(),
      description: command.description(),
      options: eachOnce(options).map((option) => completed(option, command.name(), values)),
      choices,
    };
  });
  return { bash, zsh, fish }[shell](commands);
}

/** Of `export`, the commands in it; their options are offered as its own. */
const firstWords = ({ commands, registeredArguments: [first] }: Command): readonly string[] =>
  first?.argChoices ?? commands.map((command) => command.name());

const eachOnce = (options: readonly Option[]): readonly Option[] => [
  ...new Map(options.map((option) => [option.long ?? option.short, option])).values(),
];

function completed(option: Option, command: string, values: KnownValues): CompletedOption {
  const { short, long, flags, description, argChoices } = option;
  return {
    flags: [long, short].flatMap((flag) => flag ?? []),
    description,
    takesValue: option.required || option.optional,
    choices: argChoices ?? values.options[`${command} ${long}`] ?? values.options[long ?? ""] ?? [],
    orFile: /\|file>/.test(flags),
  };
}

const plain = (texts: readonly string[]): string => texts.join(" ");

/** https://www.gnu.org/software/bash/manual/html_node/Programmable-Completion.html */
function bash(commands: readonly CompletedCommand[]): string {
  const values = commands.flatMap(({ name, options }) => {
    const taking = options.filter(({ takesValue }) => takesValue);
    return [...Map.groupBy(taking, ({ choices }) => plain(choices))].map(([choices, members]) => {
      const patterns = members.flatMap(({ flags }) => flags.map((flag) => `"${name} ${flag}"`)).join(" | ");
      const reply = choices === "" ? "" : `COMPREPLY=($(compgen -W "${choices}" -- "$cur")); `;
      return `    ${patterns}) ${reply}return ;;`;
    });
  });
  const words = commands.map(
    ({ name, options, choices }) =>
      `    ${name}) options="${plain(options.flatMap(({ flags }) => flags))}"; words="${plain(choices)}" ;;`,
  );
  return `# bash completion for meshward: source <(meshward completion bash)
_meshward() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}" command="" options="" words="" i
  # bash splits --format=json at the equals sign.
  if [[ "$cur" == "=" ]]; then cur=""; elif [[ "$prev" == "=" ]]; then prev="\${COMP_WORDS[COMP_CWORD-2]}"; fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [[ "\${COMP_WORDS[i]}" != -* ]]; then command="\${COMP_WORDS[i]}"; break; fi
  done
  COMPREPLY=()
  case "$command $prev" in
${values.join("\n")}
  esac
  case "$command" in
${words.join("\n")}
    "") options="--help --version"; words="${plain(commands.map(({ name }) => name))}" ;;
  esac
  if [[ "$cur" == -* ]]; then words="$options"; fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -o bashdefault -o default -F _meshward meshward
`;
}

/** https://zsh.sourceforge.io/Doc/Release/Completion-System.html */
function zsh(commands: readonly CompletedCommand[]): string {
  const described = commands.map(({ name, description }) => `    ${quoted(`${name}:${description}`)}`);
  const cases = commands.map(({ name, options, choices }) => {
    const specs = options.flatMap(({ flags, description, takesValue, choices: own, orFile }) =>
      flags.map((flag) => {
        const text = description.replace(/[[\]\\:]/g, "\\$&");
        const equals = takesValue && flag.startsWith("--") ? "=" : "";
        return quoted(`*${flag}${equals}[${text}]${takesValue ? `:value:${actionOf(own, orFile)}` : ""}`);
      }),
    );
    return `    ${name}) _arguments ${[...specs, quoted(`*:argument:${actionOf(choices)}`)].join(" ")} ;;`;
  });
  return `#compdef meshward
# zsh completion for meshward: meshward completion zsh > "\${fpath[1]}/_meshward"
_meshward() {
  local -a commands
  commands=(
${described.join("\n")}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local name="\${words[2]}"
  shift words
  (( CURRENT-- ))
  case "$name" in
${cases.join("\n")}
  esac
}
# zsh runs this file at the first completion, which has to be answered too.
if [[ "\${funcstack[1]}" == _meshward ]]; then _meshward "$@"; else compdef _meshward meshward; fi
`;
}

function actionOf(choices: readonly string[], orFile = false): string {
  if (choices.length === 0) return "_files";
  return orFile ? `{compadd -- ${plain(choices)}; _files}` : `(${plain(choices)})`;
}

/** https://fishshell.com/docs/current/completions.html */
function fish(commands: readonly CompletedCommand[]): string {
  const names = commands.map(
    ({ name, description }) =>
      `complete -c meshward -n __fish_use_subcommand -f -a ${name} -d ${fishQuoted(description)}`,
  );
  const options = commands.flatMap(({ name, options: own, choices }) => [
    ...own.map(({ flags, description, takesValue, choices: values, orFile }) => {
      const names = flags
        .map((flag) => (flag.startsWith("--") ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`))
        .join(" ");
      const words = values.length === 0 ? "" : ` -a ${fishQuoted(plain(values))}`;
      const value = !takesValue ? "" : `${values.length === 0 || orFile ? " -r -F" : " -x"}${words}`;
      return `complete -c meshward -n "__fish_seen_subcommand_from ${name}" ${names}${value} -d ${fishQuoted(description)}`;
    }),
    ...(choices.length === 0
      ? []
      : [`complete -c meshward -n "__fish_seen_subcommand_from ${name}" -f -a ${fishQuoted(plain(choices))}`]),
  ]);
  return [
    "# fish completion for meshward: meshward completion fish > ~/.config/fish/completions/meshward.fish",
    "complete -c meshward -n __fish_use_subcommand -s h -l help -s V -l version",
    ...names,
    ...options,
    "",
  ].join("\n");
}

/** A word for a POSIX shell, and for zsh. */
const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
/** In fish, a backslash escapes within quotes. */
const fishQuoted = (text: string): string => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
