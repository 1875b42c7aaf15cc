import { printableLine } from "../text/printable.ts";
import type { ConnectionChange, ConnectionChanges, Connections, ReportedPort } from "./connections.ts";
import { routeText, sharesText } from "./connections-text.ts";

const columnsOfPort = ["to_kind", "to_namespace", "to_name", "to_port"];

/** One row for each port and connection, with a header (RFC 4180). A port that nobody can reach has one row. */
export function csvConnections({ groups }: Connections): string {
  const rows = groups.flatMap(({ ports, connections, because, routes }) =>
    ports.flatMap((port) =>
      connections.length === 0
        ? [[...cellsOfPort(port), "nobody", "none", requestsAt(port, ""), because.join("; ")]]
        : connections.map(({ from, status, requests, partly, because: reasons }) => [
            ...[...cellsOfPort(port), from.text, status, requestsAt(port, requests.text)],
            ...[
              [
                ...reasons,
                ...(partly === null ? [] : [`some destinations refuse ${partly.text}`]),
                ...(port.url === undefined ? [] : routes.map(routeText)),
              ].join("; "),
            ],
          ]),
    ),
  );
  return table([[...columnsOfPort, "from", "status", "requests", "note"], ...rows]);
}

/** One row for each port and change. */
export function csvConnectionChanges({ groups }: ConnectionChanges): string {
  const rows = groups.flatMap(({ ports, changes }) =>
    ports.flatMap((port) =>
      changes.map((change) => [
        ...[change.kind, ...cellsOfPort(port), change.from.text, requestsAt(port, change.requests.text)],
        ...cellsOfSides(change),
      ]),
    ),
  );
  return table([["change", ...columnsOfPort, "from", "requests", "was", "is"], ...rows]);
}

function cellsOfSides({ kind, was, is, routes }: ConnectionChange): readonly string[] {
  if (kind === "partly") return ["all", "some"];
  if (kind === "wholly") return ["some", "all"];
  return routes === null ? [was ?? "none", is ?? "none"] : [sharesText(routes.was), sharesText(routes.is)];
}

const cellsOfPort = ({ kind, namespace, name, port }: ReportedPort): readonly string[] => [
  ...[kind, namespace, name],
  String(port),
];

/** Requests that come in by a Gateway are told with their host: `https://shop.example.com: GET on /cart*`. */
const requestsAt = ({ url }: ReportedPort, text: string): string =>
  url === undefined ? text : [url, ...(text === "" ? [] : [text])].join(": ");

const table = (rows: readonly (readonly string[])[]): string =>
  rows.map((cells) => `${cells.map(cellOf).join(",")}\r\n`).join("");

/** Spreadsheets take a value for a formula that starts with one of these characters. */
const formula = /^[=+\-@]/;

function cellOf(value: string): string {
  const line = printableLine(value, 32_000);
  const safe = formula.test(line) ? `'${line}` : line;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
