// Messages for errors of the operating system about files, with what to do.

/** The error that Node throws for a failed system call. */
interface SystemError extends Error {
  readonly code: string;
  readonly syscall: string;
  readonly path?: string;
}

export const isSystemError = (error: unknown): error is SystemError =>
  error instanceof Error && "code" in error && "syscall" in error;

const unreadableBecause: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file or folder: correct the path",
  ENOTDIR: "there is no such file or folder: correct the path",
  EACCES: "permission denied: allow this user to read it",
  EPERM: "permission denied: allow this user to read it",
  ELOOP: "its symbolic links lead in a circle: correct the link",
  EISDIR: "is a folder, not a file",
  ENAMETOOLONG: "the name is too long for a file: correct the path",
  EMFILE: "too many files are open: raise the limit (ulimit -n)",
};

const unwritableBecause: Readonly<Record<string, string>> = {
  ENOENT: "its folder does not exist: create it, or correct the path",
  ENOTDIR: "a part of the path is a file, not a folder: correct the path",
  EEXIST: "a file of that name exists: remove it, or give another path",
  EISDIR: "there is a folder of that name: give the path of a file",
  EACCES: "permission denied: allow this user to write there",
  EPERM: "permission denied: allow this user to write there",
  EROFS: "its file system is read-only: give another path",
  ENOSPC: "no space is left: free some space, or give another path",
  EDQUOT: "no space is left: free some space, or give another path",
  ELOOP: "its symbolic links lead in a circle: correct the link",
  ENAMETOOLONG: "the name is too long for a file: correct the path",
  EMFILE: "too many files are open: raise the limit (ulimit -n)",
};

/** Why a file or folder cannot be read, and what to do, for a line that names it. */
export const unreadable = (error: unknown): string => {
  const code = codeIn(error);
  return unreadableBecause[code] ?? `cannot be read (${code}): check the file and its disk`;
};

/** The same for one that cannot be written. */
export const unwritable = (error: unknown): string => {
  const code = codeIn(error);
  return unwritableBecause[code] ?? refused(code);
};

/** The same for an unknown purpose. */
export const unusable = (error: unknown): string => refused(codeIn(error));

const refused = (code: string): string => `the system call failed (${code}): check the path and its disk`;

function codeIn(error: unknown): string {
  if (error instanceof Error && "code" in error) return String(error.code);
  return error instanceof Error ? error.message : String(error);
}
