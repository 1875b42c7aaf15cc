/** Something that the user can put right: its message is the one line to print, and says what to do. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
