// biome-ignore lint/suspicious/noControlCharactersInRegex: Go refuses them.
const control = /[\u0000-\u001f\u007f]/;

/**
 * The scheme of a URL as Go's net/url reads it (url.Parse; for a request url.ParseRequestURI), in lower case, "" without
 * one; undefined: Go cannot read the URL.
 */
export function schemeOf(text: string, isRequest: boolean): string | undefined {
  const [url, fragment] = isRequest ? [text, ""] : cut(text, "#");
  if (control.test(text) || !isEscaped(fragment)) return undefined;
  const scheme = /^[a-zA-Z][a-zA-Z0-9+.-]*(?=:)/.exec(url)?.[0];
  const [rest] = cut(scheme === undefined ? url : url.slice(scheme.length + 1), "?");
  const isRead = scheme === undefined ? url === "*" || isWithoutScheme(rest, isRequest) : isAfterScheme(rest);
  return isRead ? (scheme ?? "").toLowerCase() : undefined;
}

/** A text that does not begin with a slash is opaque. */
const isAfterScheme = (rest: string): boolean =>
  rest.startsWith("//") ? isWithHost(rest) : !rest.startsWith("/") || isEscaped(rest);

function isWithoutScheme(rest: string, isRequest: boolean): boolean {
  if (isRequest) return rest.startsWith("/") && isEscaped(rest);
  if (rest.startsWith("//") && !rest.startsWith("///")) return isWithHost(rest);
  return (rest.startsWith("/") || !cut(rest, "/")[0].includes(":")) && isEscaped(rest);
}

function isWithHost(rest: string): boolean {
  const slash = rest.indexOf("/", 2);
  return slash < 0 ? isAuthority(rest.slice(2)) : isAuthority(rest.slice(2, slash)) && isEscaped(rest.slice(slash));
}

function isAuthority(authority: string): boolean {
  const sign = authority.lastIndexOf("@");
  const user = authority.slice(0, Math.max(sign, 0));
  if (!/^[A-Za-z0-9\-._:~!$&'()*+,;=%@]*$/.test(user) || !isEscaped(user)) return false;
  const host = authority.slice(sign + 1);
  if (host.startsWith("[")) return /^\[[0-9a-fA-F:.]+(?:%25[^\]]*)?\](?::\d*)?$/.test(host);
  return /^(?:[A-Za-z0-9\-_.~!$&'()*+,;=\]<>"]|[^\p{ASCII}]|%[89a-fA-F][0-9a-fA-F])*(?::\d*)?$/u.test(host);
}

/** Whether each % begins an escape of two digits. */
const isEscaped = (text: string): boolean => !/%(?![0-9a-fA-F]{2})/.test(text);

function cut(text: string, at: string): readonly [string, string] {
  const i = text.indexOf(at);
  return i < 0 ? [text, ""] : [text.slice(0, i), text.slice(i + 1)];
}
