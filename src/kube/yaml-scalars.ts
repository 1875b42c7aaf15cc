/**
 * What to write instead of a YAML scalar of the wrong type: kubectl, Helm and Meshward read YAML 1.1 (sigs.k8s.io/yaml), in which
 * `yes`, `no`, `on` and `off` are booleans. The type that is expected and the value that was found are as messages have
 * them: `a string`, `true`, `"yes"`. Undefined: it is another mistake.
 */
export function scalarAdvice(expected: string, found: string): string | undefined {
  if (/\bstring\b/.test(expected) && (found === "true" || found === "false")) {
    const others = found === "true" ? "y, yes and on" : "n, no and off";
    return `Put it in quotes: "${found}" (YAML reads ${others} without quotes as ${found}, too)`;
  }
  const meant = /\bboolean\b|\btrue or false\b/.test(expected) ? meantBoolean(found) : undefined;
  return meant === undefined ? undefined : `Write ${meant} without quotes`;
}

/** The boolean that a text in quotes stands for. */
function meantBoolean(found: string): boolean | undefined {
  if (/^"(?:y|yes|on|true|1)"$/i.test(found)) return true;
  return /^"(?:n|no|off|false|0)"$/i.test(found) ? false : undefined;
}
