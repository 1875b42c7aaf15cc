import { createHash } from "node:crypto";
import { pageScript, pageStyle } from "../config/page-assets.ts";
import { printableLine } from "../text/printable.ts";
import type { Destination } from "./format.ts";
import { namespaceOfReported } from "./filter.ts";
import type { PageData, PageFinding } from "./page-data.ts";
import { loweredBecause, shownObject } from "./phrases.ts";
import type { AcceptedFinding, Report, ReportedFinding, ReportedRule } from "./report.ts";

/** A page in one file, which loads nothing and sends nothing. */
export function htmlReport(
  report: Report,
  to: Pick<Destination, "repositoryPath" | "page" | "picture" | "lines">,
): string {
  return htmlPage({
    basis: report.basis,
    summary: report.summary,
    rules: report.rules,
    findings: [...report.findings, ...report.accepted]
      .map((finding) => pageFinding(finding, report.rules, to))
      .sort(byNamespace),
    skipped: report.skipped,
    errors: report.errors,
    mesh: to.picture?.() ?? null,
  });
}

const modes = ["deny", "warn", "audit"];

/** Of a namespace, the most severe first. */
function byNamespace(a: PageFinding, b: PageFinding): number {
  if (a.namespace !== b.namespace) return a.namespace < b.namespace ? -1 : 1;
  return modes.indexOf(a.mode) - modes.indexOf(b.mode);
}

function htmlPage(data: PageData): string {
  const [script, style] = [pageScript(), pageStyle()];
  const policy = contentSecurityPolicy(script, style);
  // The only place where text of users is put into HTML: as JSON, in which no tag can begin or end.
  const json = JSON.stringify(data)
    .replaceAll("<", "\\u003c")
    .replaceAll(/[^\x20-\x7e]/g, escaped);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>Meshward audit</title>
<style>${style}</style>
</head>
<body>
<noscript><p>This page needs JavaScript. The same report as text: meshward audit --format text</p></noscript>
<div id="page"></div>
<script type="application/json" id="data">${json}</script>
<script>${script}</script>
</body>
</html>
`;
}

const escaped = (unit: string): string => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** Nothing is loaded, sent or framed, and only this script and this style count. */
function contentSecurityPolicy(script: string, style: string): string {
  const hash = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
  return `default-src 'none'; script-src ${hash(script)}; style-src ${hash(style)}; base-uri 'none'; form-action 'none'`;
}

/** Without characters that hide or reorder text. */
const shown = (text: string): string => printableLine(text, 2_000);

type Sources = Pick<Destination, "repositoryPath" | "lines">;

function pageFinding(
  finding: ReportedFinding | AcceptedFinding,
  rules: readonly ReportedRule[],
  sources: Sources,
): PageFinding {
  const { rule, fingerprint, firstSeen, mode, object, path, message, fix, related } = finding;
  const lowered = loweredBecause(finding);
  const isOwnFix = rules.find(({ id }) => id === rule)?.fix !== fix;
  return {
    rule,
    id: fingerprint,
    mode,
    kind: shown(object.kind),
    namespace: namespaceOfReported(object),
    name: shown(object.name),
    path: shown(path),
    message: shown(message),
    ...(isOwnFix ? { fix: shown(fix) } : {}),
    ...(lowered === undefined ? {} : { lowered: shown(lowered) }),
    ...(related.length === 0 ? {} : { related: related.map((one) => shown(shownObject(one))) }),
    ...placeOf(finding, sources),
    ...(firstSeen === undefined ? {} : { firstSeen: shown(firstSeen) }),
    ...("exception" in finding ? { exception: finding.exception } : {}),
  };
}

function placeOf(
  { file, line }: ReportedFinding,
  { repositoryPath, lines }: Sources,
): Pick<PageFinding, "place" | "lines"> {
  if (file === null) return {};
  const manifest = line === null ? undefined : lines?.(file, line)?.map((one) => ({ ...one, text: shown(one.text) }));
  return { place: `${repositoryPath(file)}:${line ?? 1}`, ...(manifest === undefined ? {} : { lines: manifest }) };
}
