import { execFileSync } from "node:child_process";
import { mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, relative, resolve, sep } from "node:path";
import { isSystemError } from "../../text/file-errors.ts";
import { ignoreFile } from "./manifest-files.ts";
import { type ManifestSet, type ReadOptions, readManifests } from "./manifests.ts";

/** A revision that cannot be read, with the reason and what to do. */
export class RevisionError extends Error {
  override readonly name = "RevisionError";
}

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * The manifests of files and folders as they were where the current branch left a revision: at the merge base of the
 * revision and HEAD, so that what others have changed since then is no part of the change. Paths that did not exist there
 * contain nothing. The working tree, the index and the repository stay as they are. Throws a RevisionError if git or the
 * revision is not there.
 */
export async function readManifestsAt(
  revision: string,
  paths: readonly string[],
  { env, ...options }: ReadOptions & { readonly env: Variables },
): Promise<ManifestSet> {
  const repository = new Repository(env);
  const commit = repository.mergeBase(revision);
  const wanted = paths.map((path) => repository.pathOf(path));
  const folder = mkdtempSync(join(realpathSync.native(tmpdir()), "meshward-revision-"));
  const tree = join(folder, "tree");
  try {
    const there = repository.checkOut(commit, wanted, folder);
    const read = await readManifests(
      there.map((path) => join(tree, path)),
      options,
    );
    return withNames(read, (file) => relative("", join(repository.root, relative(tree, file))));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

class Repository {
  readonly root: string;
  readonly #env: Variables;

  constructor(env: Variables) {
    this.#env = env;
    const found = this.#try(["rev-parse", "--show-toplevel"], { cwd: "." });
    if (found === undefined)
      throw new RevisionError(
        "the working directory is in no git repository: change to one, or give a folder with --mesh",
      );
    this.root = realpathSync.native(found.trim());
  }

  /** Relative to the root of the repository, with slashes; "" is the root itself. */
  pathOf(path: string): string {
    const inside = relative(this.root, join(realpathSync.native("."), relative("", resolve(path))));
    if (inside === ".." || inside.startsWith(`..${sep}`))
      throw new RevisionError(`${path} is not in the git repository ${this.root}; give paths inside it`);
    return inside.split(sep).join("/");
  }

  mergeBase(revision: string): string {
    const hint =
      this.#try(["rev-parse", "--is-shallow-repository"])?.trim() === "true"
        ? "this clone is shallow: fetch the history (fetch-depth: 0 in a GitHub workflow, GIT_DEPTH: 0 in GitLab CI)"
        : "correct it, or bring it with git fetch";
    const verify = ["rev-parse", "--quiet", "--verify", "--end-of-options", `${revision}^{commit}`];
    const commit = this.#try(verify)?.trim();
    if (commit === undefined) throw new RevisionError(`git knows no revision ${JSON.stringify(revision)}; ${hint}`);
    const base = this.#try(["merge-base", commit, "HEAD"])?.trim();
    if (base === undefined)
      throw new RevisionError(`${JSON.stringify(revision)} and HEAD have no common commit; ${hint}`);
    return base;
  }

  /** Writes the wanted files below `folder/tree`, through an index of its own; returns the wanted paths that exist. */
  checkOut(commit: string, wanted: readonly string[], folder: string): readonly string[] {
    const env = { GIT_INDEX_FILE: join(folder, "index") };
    this.#run(["read-tree", commit], { env });
    const files = this.#run(["ls-files", "-z", "--cached"], { env }).split("\0");
    const isBelow = (file: string, path: string) => path === "" || file === path || file.startsWith(`${path}/`);
    const found = files.filter(
      (file) => file !== "" && (basename(file) === ignoreFile || wanted.some((path) => isBelow(file, path))),
    );
    const prefix = `--prefix=${join(folder, "tree")}/`;
    this.#run(["checkout-index", "--quiet", "-z", "--stdin", prefix], { env, input: found.join("\0") });
    return wanted.filter((path) => found.some((file) => isBelow(file, path)));
  }

  /** Undefined: git reported an error. */
  #try(args: readonly string[], options?: GitOptions): string | undefined {
    try {
      return this.#run(args, options);
    } catch (error) {
      if (error instanceof RevisionError) throw error;
      return undefined;
    }
  }

  #run(args: readonly string[], { cwd = this.root, env = {}, input = "" }: GitOptions = {}): string {
    try {
      return execFileSync("git", args, {
        ...{ cwd, input, encoding: "utf8", stdio: "pipe", maxBuffer: mostOutput },
        env: { ...this.#env, ...env },
      });
    } catch (error) {
      if (isSystemError(error) && error.code === "ENOENT")
        throw new RevisionError("git is not on the PATH: install it");
      throw error;
    }
  }
}

interface GitOptions {
  readonly cwd?: string;
  readonly env?: Variables;
  readonly input?: string;
}

/** In bytes: the names of millions of files. */
const mostOutput = 256 << 20;

function withNames({ manifests, errors, ignored, empty }: ManifestSet, nameOf: (file: string) => string): ManifestSet {
  return {
    manifests: manifests.map((manifest) => ({ ...manifest, file: nameOf(manifest.file) })),
    errors: errors.map((error) => ({ ...error, file: nameOf(error.file) })),
    ignored: ignored.map(({ path, reason }) => ({ path: nameOf(path), reason })),
    empty: empty.map((error) => ({ ...error, file: nameOf(error.file) })),
  };
}
