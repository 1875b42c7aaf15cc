import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { argumentsOf, checkout, image, wordsOf } from "./dockerfile.ts";

// No container engine is needed: a folder with exactly the files that the Dockerfile copies, and of its base image only
// Node with the libraries that it is linked to, becomes the root of a process with the image's user and an empty
// environment.

/** Why that cannot be done here, or false. Where CI is set, this is an error instead. */
export const noImage: string | false = (() => {
  const isSupported =
    process.platform === "linux" &&
    process.getuid?.() === 0 &&
    spawnSync("unshare", ["--mount", "true"], { timeout: 10_000 }).status === 0;
  if (isSupported) return false;
  const reason = "NOT TESTED: the image needs Linux, root and mount namespaces";
  if (!["", "0", "false", undefined].includes(process.env["CI"])) throw new Error(reason);
  return reason;
})();

export interface Mount {
  /** A folder or file of this machine. */
  readonly source: string;
  /** Where the container sees it, read-only. */
  readonly target: string;
}

export interface ImageRoot {
  /**
   * The command line of a container with these arguments: its root file system is read-only, and its environment is
   * `env` and nothing else.
   */
  command(
    args: readonly string[],
    options?: {
      readonly env?: Readonly<Record<string, string>>;
      readonly mounts?: readonly Mount[];
      readonly entrypoint?: readonly string[];
    },
  ): readonly [path: string, ...args: string[]];
}

/** Writes the root below `folder`. `built` has the files that the build stage would put into /source/dist. */
export function imageRoot(folder: string, built: string): ImageRoot {
  const place = (source: string, target: string, mode: number): void => {
    const path = join(folder, target);
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    copyFileSync(source, path);
    chmodSync(path, mode);
  };
  for (const { source, target, flags } of image.copied) {
    const path = source.startsWith("/source/dist/")
      ? join(built, source.slice("/source/dist/".length))
      : join(checkout, source.slice("/source/".length));
    place(path, target, Number.parseInt(flags["chmod"] ?? "0644", 8));
  }
  const node = realpathSync(process.execPath);
  place(node, "/nodejs/bin/node", 0o755);
  for (const library of librariesOf(node)) place(library, library, 0o755);
  for (const name of ["proc", "tmp", "dev", "var/run", "etc"]) mkdirSync(join(folder, name), { recursive: true });
  const user = argumentsOf("USER").at(-1) ?? "";
  return {
    command: (args, { env = {}, mounts = [], entrypoint = wordsOf("ENTRYPOINT") ?? [] } = {}) => {
      for (const { source, target } of mounts) prepareMountPoint(source, join(folder, target));
      const environment = Object.entries(env)
        .map(([name, value]) => quoted(`${name}=${value}`))
        .join(" ");
      const script = [
        "set -e",
        `mount --bind "$ROOT" "$ROOT"`,
        `mount -t proc none "$ROOT/proc"`,
        ...mounts.flatMap(({ source, target }) => [
          `mount --bind ${quoted(source)} "$ROOT"${quoted(target)}`,
          `mount -o remount,bind,ro "$ROOT"${quoted(target)}`,
        ]),
        `mount -o remount,bind,ro "$ROOT"`,
        "root=$ROOT; chroot=$(command -v chroot)",
        `exec env --ignore-environment ${environment} "$chroot" --userspec=${user} --groups= "$root" "$@"`,
      ].join("\n");
      return ["env", `ROOT=${folder}`, "unshare", "--mount", "sh", "-c", script, "container", ...entrypoint, ...args];
    },
  };
}

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

function prepareMountPoint(source: string, target: string): void {
  if (existsSync(target)) return;
  mkdirSync(dirname(target), { recursive: true });
  const isFolder = spawnSync("test", ["-d", source]).status === 0;
  if (isFolder) mkdirSync(target);
  else copyFileSync(source, target);
}

/** The shared libraries of a program, and the loader, as ldd finds them. */
function librariesOf(program: string): readonly string[] {
  const { stdout } = spawnSync("ldd", [program], { encoding: "utf8" });
  return [...stdout.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map(([, path = ""]) => path);
}
