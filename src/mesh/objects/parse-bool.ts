// What Go's strconv.ParseBool makes of a text, with which Istio reads labels, annotations and variables.

const trueTexts: ReadonlySet<string | undefined> = new Set(["1", "t", "T", "true", "TRUE", "True"]);
const falseTexts: ReadonlySet<string> = new Set(["0", "f", "F", "false", "FALSE", "False"]);

/** Every other text is false, even if Go would report an error: Istio ignores that. */
export const isTrueText = (text: string | undefined): boolean => trueTexts.has(text);

/** Whether Go reports no error. */
export const isBoolean = (text: string): boolean => isTrueText(text) || falseTexts.has(text);
