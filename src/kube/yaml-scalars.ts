/**
 * What to write instead of a YAML scalar of the wrong type: kubectl, Helm and Meshward read YAML 1.1 (sigs.k8s.io/yaml), in which
 * `yes`, `no`, `on` and `off` are booleans. The type that is expected and the value that was found are as messages have
 * them: `a string`, `true`, `"yes"`. Undefined: it is another mistake.
 */
export function scalarAdvice(expected: string, found: string): string | undefined {
  if (/\bduration\b/.test(expected) && /^\d/.test(found)) return `Write the unit, such as ${found}s for seconds`;
  if (/\bstring\b/.test(expected)) return adviceForText(found);
  if (/\binteger\b|\bnumber\b/.test(expected)) {
    const number = /^"(-?\d+)"$/.exec(found)?.[1];
    return number === undefined ? undefined : `Write ${number} without quotes`;
  }
  const meant = /\bboolean\b|\btrue or false\b/.test(expected) ? meantBoolean(found) : undefined;
  return meant === undefined ? undefined : `Write ${meant} without quotes`;
}

/** The value does not tell which word was written. */
function adviceForText(found: string): string | undefined {
  if (found === "true" || found === "false") {
    const words = found === "true" ? '"true", "yes", "on" or "y"' : '"false", "no", "off" or "n"';
    return `Put in quotes what is written, ${words}: YAML reads each of them without quotes as ${found}`;
  }
  return /^-?\d/.test(found) ? `Put it in quotes as it is written, such as "${found}"` : undefined;
}

/** The boolean that a text in quotes stands for. */
function meantBoolean(found: string): boolean | undefined {
  if (/^"(?:y|yes|on|true|1)"$/i.test(found)) return true;
  return /^"(?:n|no|off|false|0)"$/i.test(found) ? false : undefined;
}
