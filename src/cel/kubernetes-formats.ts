import { type CelFunc, celFunc, celMethod, CelScalar, mapType } from "@bufbuild/cel";
import { isBase64 } from "../text/base64.ts";
import { partsOf } from "./urls.ts";

// The library of formats that Kubernetes adds to CEL (`apiserver/pkg/cel/library/format.go`):
// `!format.dns1123Subdomain().validate(self).hasValue()`.

const { STRING, BOOL, DYN } = CelScalar;

/**
 * The package has neither the type of a format nor optional values. No field is a map with truth values as keys, so that maps stand for
 * them and their methods exist for nothing else: the name of the format, a format, or what is wrong, at `true`.
 */
const ofFormat = mapType(BOOL, STRING);
const optional = mapType(BOOL, DYN);

const label = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?";
const forms = {
  label: new RegExp(`^${label}$`),
  subdomain: new RegExp(`^${label}(?:\\.${label})*$`),
  label1035: /^[a-z](?:[-a-z0-9]*[a-z0-9])?$/,
  name: /^(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/,
} as const;

const hasForm =
  (form: keyof typeof forms, longest: number) =>
  (text: string): boolean =>
    text.length <= longest && forms[form].test(text);
const [isLabel, isSubdomain] = [hasForm("label", 63), hasForm("subdomain", 253)];
const [isLabel1035, isName] = [hasForm("label1035", 63), hasForm("name", 63)];

/** What Kubernetes appends a suffix to may end with a dash (`apimachinery/pkg/api/validation/generic.go` maskTrailingDash,
 * which replaces two bytes). */
const asPrefix =
  (is: (text: string) => boolean) =>
  (text: string): boolean =>
    is(text.replace(/[\0-\x7f]-$/, "a"));

function isQualifiedName(text: string): boolean {
  const [name = "", prefix, ...more] = text.split("/").reverse();
  return more.length === 0 && isName(name) && (prefix === undefined || isSubdomain(prefix));
}

/** `time.Parse` of Go with 2006-01-02. JavaScript reads February 30 as March 2. */
function isDate(text: string): boolean {
  const [, year = "", month = "", day = ""] = /^(\d{4})-(\d{2})-(\d{2})$/.exec(text) ?? [];
  const time = new Date(`${year}-${month}-${day}T00:00:00Z`);
  return year !== "" && !Number.isNaN(time.getTime()) && time.getUTCDate() === Number(day);
}

/** `IsDateTime` of `kube-openapi/pkg/validation/strfmt/time.go`, which ignores what follows another t. */
function isDateTime(text: string): boolean {
  const [date = "", time = ""] = text.toLowerCase().split("t");
  return isDate(date) && /^(?:[01]\d|2[0-3])(?::[0-5]\d){2}(?:[^\n]\d+)?(?:z|[-+]\d{2}:\d{2})$/u.test(time);
}

const formats: ReadonlyMap<string, (text: string) => boolean> = new Map([
  ["dns1123Label", isLabel],
  ["dns1123Subdomain", isSubdomain],
  ["dns1035Label", isLabel1035],
  ["dns1123LabelPrefix", asPrefix(isLabel)],
  ["dns1123SubdomainPrefix", asPrefix(isSubdomain)],
  ["dns1035LabelPrefix", asPrefix(isLabel1035)],
  ["qualifiedName", isQualifiedName],
  ["labelValue", (text) => text === "" || isName(text)],
  ["uuid", (text) => /^[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}$/i.test(text)],
  ["uri", (text) => partsOf(text) !== undefined],
  ["byte", isBase64],
  ["date", isDate],
  ["datetime", isDateTime],
]);

export const formatFunctions: CelFunc[] = [
  ...[...formats.keys()].map((name) => celFunc(`format.${name}`, [], ofFormat, () => new Map([[true, name]]))),
  celFunc("format.named", [STRING], optional, (name) =>
    formats.has(name) ? new Map([[true, new Map([[true, name]])]]) : new Map(),
  ),
  celMethod("validate", ofFormat, [STRING], optional, function (text) {
    const name = this.get(true);
    const isWrong = typeof name === "string" && formats.get(name)?.(text) === false;
    return new Map(isWrong ? [[true, [`it has not the format ${name}`]]] : []);
  }),
  celMethod("hasValue", optional, [], BOOL, function () {
    return this.size > 0;
  }),
  celMethod("value", optional, [], DYN, function () {
    const value = this.get(true);
    if (value === undefined) throw new Error("optional.none() dereference");
    return value;
  }),
];
