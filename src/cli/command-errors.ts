import type { Command, Option } from "commander";

// commander's errors name what is wrong; these add what is expected, for those who use a command for the first time.

/**
 * Checks options that have to be given after everything else: for `--mehs mesh`, the error is that there is no such option,
 * and not that `--mesh` is missing.
 */
export function checkMandatoryLast(command: Command): void {
  const mandatory = command.options.filter((option) => option.mandatory);
  for (const option of mandatory) {
    option.makeOptionMandatory(false);
    checkedLast.add(option);
  }
  if (mandatory.length === 0) return;
  command.hook("preAction", (_command, action) => {
    const missing = mandatory.find((option) => action.getOptionValue(option.attributeName()) === undefined);
    if (missing !== undefined)
      action.error(`error: required option '${missing.flags}' not specified: ${missing.description}`);
  });
}

/**
 * Refuses an option that takes one value and is given with two: commander keeps the last one, so that `--policies a --policies b`
 * would leave out the policies of `a` without a word. Options whose parser gets the values before collect them.
 */
export function refuseSecondValues(command: Command): void {
  for (const option of command.options) {
    const collects = option.variadic || (option.argChoices === undefined && (option.parseArg?.length ?? 0) > 1);
    if (option.isBoolean() || collects) continue;
    let first: unknown;
    command.on(`option:${option.name()}`, (value: unknown) => {
      if (first !== undefined && value !== first)
        command.error(
          `error: option '${option.flags}' is given with ${JSON.stringify(first)} and with ${JSON.stringify(value)}, and takes one value`,
        );
      first = value;
    });
  }
}

/** An error as commander prints it, with the prefix of all errors and the description of what is missing. */
export function explained(text: string, { options, registeredArguments }: Command): string {
  return text
    .replace(/^error: /, "meshward: ")
    .replace(/is invalid\. expected/, "is invalid: expected")
    .replace(/missing required argument '([^']+)'$/m, (whole, name: string) => {
      const description = registeredArguments.find((argument) => argument.name() === name)?.description ?? "";
      return description === "" ? whole : `${whole}: ${description}`;
    })
    .replace(/option '([^']+)' argument missing$/m, (whole, flags: string) => {
      const description = options.find((option: Option) => option.flags === flags)?.description ?? "";
      return description === "" ? whole : `${whole}: ${description}`;
    });
}

const checkedLast = new WeakSet<Option>();

/** Whether the command does not run without this option. */
export const isRequired = (option: Option): boolean => checkedLast.has(option);
