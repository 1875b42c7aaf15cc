/** The texts that Go's strconv.ParseBool reads as true; every other text is false, even if Go would report an error. */
const trueTexts: ReadonlySet<string | undefined> = new Set(["1", "t", "T", "true", "TRUE", "True"]);

export const isTrueText = (text: string | undefined): boolean => trueTexts.has(text);
