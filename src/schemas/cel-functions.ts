import { isIP } from "node:net";
import { type CelFunc, celFunc, celMethod, CelScalar, mapType } from "@bufbuild/cel";

// The functions that Kubernetes adds to CEL (`apiserver/pkg/cel/library`) and that the rules of Istio and the Gateway API use.

const { STRING, BOOL } = CelScalar;
const url = mapType(STRING, STRING);

/** The parts of a URL as Go's `url.ParseRequestURI` splits it; undefined if it is none. */
function partsOf(text: string): Map<string, string> | undefined {
  const groups = /[\u0000-\u0020\u007f]/.test(text) ? undefined : form.exec(text)?.groups;
  if (groups === undefined) return undefined;
  const { scheme = "", host = "", path = "", query = "" } = groups;
  return new Map(Object.entries({ scheme: scheme.toLowerCase(), host: host.replace(/^.*@/, ""), path, query }));
}

/** A scheme with anything after it, or an absolute path. */
const form =
  /^(?:(?<scheme>[A-Za-z][-+.A-Za-z0-9]*):(?=.)|(?=\/))(?:\/\/(?<host>[^/?]*))?(?<path>[^?]*)(?:\?(?<query>.*))?$/s;

const part = (method: string, name: string): CelFunc =>
  celMethod(method, url, [], STRING, function () {
    const found = this.get(name);
    return typeof found === "string" ? found : "";
  });

export const kubernetesFunctions: CelFunc[] = [
  celFunc("isURL", [STRING], BOOL, (text) => partsOf(text) !== undefined),
  celFunc("url", [STRING], url, (text) => {
    const parts = partsOf(text);
    if (parts === undefined) throw new Error("not a URL");
    return parts;
  }),
  part("getScheme", "scheme"),
  part("getHost", "host"),
  part("getEscapedPath", "path"),
  celFunc("isIP", [STRING], BOOL, (text) => isIP(text) !== 0),
];
