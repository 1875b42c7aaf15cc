import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readlinkSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
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
      { ...options, mayBeEmpty: true },
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

  /**
   * Writes the wanted files below `folder/tree`, with those of submodules and those to which links lead; returns the wanted paths
   * that exist. Throws a RevisionError for a submodule whose files at that commit are not there.
   */
  checkOut(commit: string, wanted: readonly string[], folder: string): readonly string[] {
    const tree = join(folder, "tree");
    const left = [...this.#entriesAt({ commit, at: "", path: this.root }, wanted, folder)];
    const known = new Set<string>();
    let asked = wanted;
    while (asked.length > 0) {
      for (const one of asked) known.add(one);
      const paths = asked;
      const found = takeFrom(
        left,
        ({ name }) => basename(name) === ignoreFile || paths.some((one) => meets(name, one)),
      );
      for (const [source, entries] of Map.groupBy(found, ({ source }) => source)) this.#write(source, entries, tree);
      const links = found.filter(({ mode }) => mode === linkMode).map(({ name }) => join(tree, name));
      asked = links.flatMap((link) => {
        const target = relative(tree, resolve(dirname(link), readlinkSync(link)));
        const path = target.split(sep).join("/");
        return path.startsWith("..") || known.has(path) ? [] : [path];
      });
    }
    return wanted.filter((path) => existsSync(join(tree, path)));
  }

  /** The files of a commit, with those of the submodules at or below the wanted paths. */
  *#entriesAt(source: Source, wanted: readonly string[], folder: string): Generator<Entry, void> {
    source.index = join(mkdtempSync(join(folder, "index-")), "index");
    this.#run(["read-tree", source.commit], { cwd: source.path, env: { ...outside, GIT_INDEX_FILE: source.index } });
    const options = { cwd: source.path, env: { ...outside, GIT_INDEX_FILE: source.index } };
    for (const line of this.#run(["ls-files", "-z", "--stage"], options).split("\0")) {
      const [, mode = "", object = "", inSource = ""] = /^(\d+) (\w+) \d\t([\s\S]+)$/.exec(line) ?? [];
      if (inSource === "") continue;
      const name = source.at === "" ? inSource : `${source.at}/${inSource}`;
      if (mode !== submoduleMode) yield { source, mode, name, inSource };
      else if (wanted.some((one) => meets(name, one))) yield* this.#submodule({ name, object }, wanted, folder);
    }
  }

  *#submodule(
    { name, object }: { readonly name: string; readonly object: string },
    wanted: readonly string[],
    folder: string,
  ): Generator<Entry, void> {
    const path = join(this.root, name);
    if (!existsSync(path))
      throw new RevisionError(
        `${name} was a git submodule there, and is none any more, so what it contained is not known: compare with --mesh instead`,
      );
    // Whoever reads the files of now reports a submodule that is not checked out.
    if (!existsSync(join(path, ".git"))) return;
    const options = { cwd: path, env: outside };
    if (this.#try(["cat-file", "-e", `${object}^{commit}`], options) === undefined)
      throw new RevisionError(
        `the git submodule ${name} does not have commit ${object.slice(0, 12)}, which it had there: git -C ${name} fetch --unshallow`,
      );
    yield* this.#entriesAt({ commit: object, at: name, path }, wanted, folder);
  }

  #write({ path, at, index = "" }: Source, entries: readonly Entry[], tree: string): void {
    const prefix = `--prefix=${join(tree, at)}/`;
    const input = entries.map(({ inSource }) => inSource).join("\0");
    const env = { ...outside, GIT_INDEX_FILE: index };
    this.#run(["checkout-index", "--quiet", "-z", "--stdin", prefix], { cwd: path, env, input });
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

/** A repository, at a commit. */
interface Source {
  readonly commit: string;
  /** Of a submodule: its path in the repository around it. */
  readonly at: string;
  /** The root of its working tree. */
  readonly path: string;
  /** An index of its own, which has the files of the commit. */
  index?: string;
}

interface Entry {
  readonly source: Source;
  readonly mode: string;
  /** In the outermost repository, and in its own. */
  readonly name: string;
  readonly inSource: string;
}

/** Modes of entries of a tree (git ls-files --stage). */
const [linkMode, submoduleMode] = ["120000", "160000"] as const;
/** What a hook sets for its own repository would hide a submodule. */
const outside = { GIT_DIR: undefined, GIT_WORK_TREE: undefined, GIT_PREFIX: undefined } as const;

/** Whether an entry is a path, is below it, or is a link above it. */
const meets = (name: string, path: string): boolean =>
  path === "" || name === path || name.startsWith(`${path}/`) || path.startsWith(`${name}/`);

/** Removes and returns those that fulfil the condition. */
function takeFrom<T>(list: T[], isWanted: (one: T) => boolean): readonly T[] {
  const { taken = [], left = [] } = Object.groupBy(list, (one) => (isWanted(one) ? "taken" : "left"));
  list.length = 0;
  for (const one of left) list.push(one);
  return taken;
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
    manifests: manifests.map((manifest) => ({
      ...manifest,
      file: nameOf(manifest.file),
      locate: (at) => {
        const { file, ...spot } = manifest.locate(at);
        return file === undefined ? spot : { ...spot, file: nameOf(file) };
      },
    })),
    errors: errors.map((error) => ({ ...error, file: nameOf(error.file) })),
    ignored: ignored.map(({ path, reason }) => ({ path: nameOf(path), reason })),
    empty: empty.map((error) => ({ ...error, file: nameOf(error.file) })),
  };
}
