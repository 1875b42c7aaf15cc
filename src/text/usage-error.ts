/** An error that the user can correct. Its message is the line to print, and says what to do. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
