// How numbers are shown: one place for all pages. Bytes, credits and moments read as the command line prints them.

const CREDIT = 10n ** 18n;
const UNITS: [string, bigint][] = [
  ["PiB", 1n << 50n],
  ["TiB", 1n << 40n],
  ["GiB", 1n << 30n],
  ["MiB", 1n << 20n],
  ["KiB", 1n << 10n],
];

/** What stands for a number that is not known. */
export const UNKNOWN = "–";

/** `1.5 GiB`, rounded down to one digit, as `cairn status` has it. */
export function bytes(len: number | null | undefined): string {
  if (len === null || len === undefined) return UNKNOWN;
  const whole = BigInt(Math.trunc(len));
  for (const [unit, factor] of UNITS) {
    if (whole >= factor) return `${whole / factor}.${((whole % factor) * 10n) / factor} ${unit}`;
  }
  return `${whole} B`;
}

/** Base units as credits, every digit of them: what the command line prints. */
export function creditsExact(base: string | null | undefined): string {
  const parsed = baseUnits(base);
  if (parsed === null) return UNKNOWN;
  const rest = parsed % CREDIT;
  if (rest === 0n) return `${parsed / CREDIT} CRD`;
  return `${parsed / CREDIT}.${rest.toString().padStart(18, "0").replace(/0+$/, "")} CRD`;
}

/** Base units as credits with six digits after the point at most, rounded down; a smaller amount than that is shown as `< 0.000001`. */
export function credits(base: string | null | undefined): string {
  const parsed = baseUnits(base);
  if (parsed === null) return UNKNOWN;
  const micro = parsed / 10n ** 12n;
  if (micro === 0n && parsed > 0n) return "< 0.000001 CRD";
  const rest = (micro % 1_000_000n).toString().padStart(6, "0").replace(/0+$/, "");
  return `${grouped(micro / 1_000_000n)}${rest === "" ? "" : `.${rest}`} CRD`;
}

/** Credits as people write them, such as `12.5`, in base units; `null` for what is no amount. */
export function baseUnitsOf(credits: string): string | null {
  const [, whole, rest = ""] = /^(\d{1,12})(?:\.(\d{1,18}))?$/.exec(credits.trim()) ?? [];
  return whole === undefined ? null : (BigInt(whole) * CREDIT + BigInt(rest.padEnd(18, "0"))).toString();
}

/** Base units as a number of credits, for charts alone. */
export function creditsNumber(base: string | null | undefined): number | null {
  const parsed = baseUnits(base);
  return parsed === null ? null : Number(parsed) / 1e18;
}

function baseUnits(base: string | null | undefined): bigint | null {
  return base !== null && base !== undefined && /^\d{1,40}$/.test(base) ? BigInt(base) : null;
}

function grouped(whole: bigint): string {
  return whole.toString().replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

/** A whole number with thin spaces between thousands. */
export function count(value: number | null | undefined): string {
  return value === null || value === undefined ? UNKNOWN : grouped(BigInt(Math.trunc(value)));
}

/** `2026-01-31 23:59:59Z` */
export function utc(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || ms <= 0 || ms > 8.64e15) return UNKNOWN;
  return `${new Date(ms).toISOString().slice(0, 19).replace("T", " ")}Z`;
}

/** `3 min ago`, `in 2 h` */
export function relative(ms: number | null | undefined, now: number): string {
  if (ms === null || ms === undefined || ms <= 0) return UNKNOWN;
  const span = duration(Math.abs(now - ms));
  return ms > now ? `in ${span}` : `${span} ago`;
}

/** `850 ms`, `12 s`, `3 min`, `2 h`, `5 d` */
export function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const steps: [number, string][] = [
    [86_400_000, "d"],
    [3_600_000, "h"],
    [60_000, "min"],
    [1000, "s"],
  ];
  const [factor, unit] = steps.find(([step]) => ms >= step) ?? [1000, "s"];
  return `${Math.floor(ms / factor)} ${unit}`;
}

/** Microseconds as milliseconds with one digit. */
export function latency(us: number | null | undefined): string {
  return us === null || us === undefined || us === 0 ? UNKNOWN : `${(us / 1000).toFixed(1)} ms`;
}

/** Thousandths as a percentage with one digit. */
export function permille(value: number | null | undefined): string {
  return value === null || value === undefined ? UNKNOWN : `${(value / 10).toFixed(1)} %`;
}

/** The beginning and end of a long id. */
export function shortId(id: string | null | undefined): string {
  if (id === null || id === undefined) return UNKNOWN;
  return id.length <= 16 ? id : `${id.slice(0, 8)}…${id.slice(-6)}`;
}

/** A price of a GiB as one of a TiB, in base units. */
export function perTib(perGib: string | null | undefined): string | null {
  const parsed = baseUnits(perGib);
  return parsed === null ? null : (parsed * 1024n).toString();
}

/** The sum of amounts in base units; what is not known counts as nothing. */
export function sum(amounts: (string | null | undefined)[]): string {
  return amounts.reduce((total, amount) => total + (baseUnits(amount) ?? 0n), 0n).toString();
}
