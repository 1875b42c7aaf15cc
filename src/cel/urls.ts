import { isIPv6 } from "node:net";

/** The parts of a URL as Go's `url.ParseRequestURI` splits it; undefined if it is none. */
export function partsOf(text: string): Map<string, string> | undefined {
  const groups = /[\0-\x1f\x7f]/.test(text) ? undefined : form.exec(text)?.groups;
  if (groups === undefined) return undefined;
  const [scheme, authority, path, query] = partNames.map((name) => groups[name] ?? "") as [
    string,
    string,
    string,
    string,
  ];
  const hostAt = authority.lastIndexOf("@") + 1;
  const parts = {
    scheme: scheme.toLowerCase(),
    host: authority.slice(hostAt),
    path: isOpaque(path) ? "" : path,
    query,
  };
  const isValid = isHost(parts.host, parts.scheme) && isUser(authority.slice(0, hostAt)) && !badEscape.test(parts.path);
  return isValid ? new Map(Object.entries(parts)) : undefined;
}

const partNames = ["scheme", "authority", "path", "query"] as const;

/** A scheme with or without anything after it, or an absolute path; without a scheme, two slashes are part of the path. */
const form =
  /^(?:(?<scheme>[A-Za-z][-+.A-Za-z0-9]*):(?:\/\/(?<authority>[^/?]*))?|(?=\/))(?<path>[^?]*)(?:\?(?<query>.*))?$/s;

const badEscape = /%(?![0-9A-Fa-f]{2})/;

/** What follows a scheme without a slash is not looked at. */
const isOpaque = (path: string): boolean => !path.startsWith("/");

/** `validUserinfo` of Go's net/url. */
const isUser = (user: string): boolean => /^[-\w.:~!$&'()*+,;=%@]*$/.test(user) && !badEscape.test(user);

/** `parseHost` of Go's net/url: an IPv6 address in brackets or a name, with a port of digits; only bytes beyond ASCII are escaped. */
function isHost(host: string, scheme: string): boolean {
  if (!/^(?:[-\w.~!$&'()*+,;=:[\]<>"]|[^\0-\x7f]|%(?:[89A-Fa-f][0-9A-Fa-f]|25))*$/.test(host)) return false;
  if (host.includes("[")) {
    const [, address = "", zone = "none"] = /^\[([^[\]%]*)(?:%25([^[]*))?\](?::\d*)?$/.exec(host) ?? [];
    return isIPv6(address) && zone !== "";
  }
  const isStrict = scheme === "http" || scheme === "https";
  const colon = isStrict ? host.indexOf(":") : host.lastIndexOf(":");
  return colon < 0 || /^:\d*$/.test(host.slice(colon));
}
