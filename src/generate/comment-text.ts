/** The text of a documentation comment, as one line. */
export const commentText = (comment: string): string =>
  comment
    .replaceAll(/^\s*\/\*\*|\*\/\s*$/g, "")
    .replaceAll(/\n\s*\* ?/g, " ")
    .trim();

/** The first sentence of a documentation comment; undefined: it has no sentence. */
export const firstSentence = (comment: string): string | undefined => /^.*?\.(?=\s|$)/.exec(commentText(comment))?.[0];
