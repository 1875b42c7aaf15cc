import { realpathSync, statSync } from "node:fs";
import { sep } from "node:path";

/** Read permission for users that are neither the owner nor in the file's group. */
const othersRead = 0o004;

/**
 * A line about a key that every user of the machine may read; undefined if none may. A group that may read it is no
 * problem, because Kubernetes gives a mounted Secret to the group `fsGroup`. In a volume of Kubernetes, the default mode
 * is 0644, and only the container can reach the files, so that says nothing. Such a volume is recognized by the folder
 * that its files are links to, `..2026_11_26_04_16_04.123456789` (k8s.io/kubernetes pkg/volume/util/atomic_writer.go).
 */
export function keyExposure(path: string): string | undefined {
  try {
    const { mode } = statSync(path);
    const isInVolume = realpathSync(path)
      .split(sep)
      .some((folder) => folder.startsWith(".."));
    if ((mode & othersRead) === 0 || isInVolume || sep !== "/") return undefined;
    const octal = (mode & 0o777).toString(8).padStart(4, "0");
    return `--tls-key ${path} has mode ${octal}, so every user of this machine may read the key; set it to 0600 (a Secret that is mounted with subPath: set defaultMode: 0400)`;
  } catch {
    return undefined;
  }
}
