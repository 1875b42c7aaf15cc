const units: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
  us: 0.001,
  "\u00b5s": 0.001,
  ns: 1e-6,
};

const inOneUnit = /^(\d+(?:\.\d*)?)(h|ms|m|s|us|\u00b5s|ns)$/;

/**
 * A duration as Istio's CRDs write it, `1.5s`, `1m30s`, in milliseconds; undefined: it is missing, or is none (Go
 * time.ParseDuration).
 */
export function durationMs(text: string | undefined): number | undefined {
  if (text === undefined || text.length > 64) return undefined;
  const [, amount, of = ""] = inOneUnit.exec(text) ?? [];
  return amount === undefined ? sumMs(text) : inMs(amount, of);
}

const inMs = (amount: string, unit: string): number => Number(amount) * (units[unit] ?? 0);

function sumMs(text: string): number | undefined {
  if (!/^(?:\d+(?:\.\d*)?(?:h|ms|m|s|us|\u00b5s|ns))+$/.test(text)) return undefined;
  let sum = 0;
  for (const [, amount = "", unit = ""] of text.matchAll(/(\d+(?:\.\d*)?)(h|ms|m|s|us|\u00b5s|ns)/g))
    sum += inMs(amount, unit);
  return sum;
}

/** In words for a message: `1.5 s`, `250 ms`. */
export const shownDuration = (ms: number): string => (ms < 1000 ? `${ms} ms` : `${ms / 1000} s`);
