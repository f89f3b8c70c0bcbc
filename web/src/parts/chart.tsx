// A chart of a node's past: lines over time, drawn by uPlot, with the same numbers as CSV beside it.
import { useEffect, useMemo, useRef, useState } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { at, query } from "../api/client";
import { useHistory } from "../api/queries";
import { bytes, creditsNumber } from "../lib/format";
import { Card, ErrorNote } from "./basic";

const SPANS: [string, number][] = [
  ["1 h", 3_600_000],
  ["24 h", 86_400_000],
  ["7 d", 7 * 86_400_000],
  ["30 d", 30 * 86_400_000],
  ["1 y", 366 * 86_400_000],
  ["all", 20 * 366 * 86_400_000],
];
const COLOURS = ["#0f9d8f", "#c2740c", "#6d5bd0", "#c0365f"];

export type Unit = "bytes" | "credits" | "count";
export interface Curve { series: string; label: string }

function numberOf(value: string | number | null | undefined, unit: Unit): number | null {
  if (typeof value !== "string") return null;
  return unit === "credits" ? creditsNumber(value) : Number(value);
}

function shown(value: number | null, unit: Unit): string {
  if (value === null) return "–";
  if (unit === "bytes") return bytes(value);
  if (unit === "credits") return `${Number(value.toPrecision(4))} CRD`;
  return String(Number(value.toPrecision(6)));
}

export function HistoryChart({ node, title, curves, unit }: { node: string; title: string; curves: Curve[]; unit: Unit }) {
  const [span, setSpan] = useState(3_600_000);
  // Whole minutes, so that the question stays the same for a while.
  const [now, setNow] = useState(() => Math.floor(Date.now() / 60_000) * 60_000);
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Math.floor(Date.now() / 60_000) * 60_000), 60_000);
    return () => window.clearInterval(timer);
  }, []);
  const since = Math.max(0, now - span);
  const history = useHistory(node, since);
  const data = useMemo(() => {
    const found = history.data;
    const points = found?.points ?? [];
    const times = points.map((point) => Number(point[0]) / 1000);
    const lines = curves.map((curve) => {
      const place = (found?.series.indexOf(curve.series) ?? -1) + 1;
      return points.map((point) => (place === 0 ? null : numberOf(point[place], unit)));
    });
    return [times, ...lines] as uPlot.AlignedData;
  }, [history.data, curves, unit]);
  // A span of "all" begins with the first point.
  const first = data[0][0] ?? now / 1000;
  const range = useMemo<[number, number]>(() => [Math.max(since / 1000, since === 0 || span > 366 * 86_400_000 ? first : 0), (now + 60_000) / 1000], [since, first, now, span]);
  const last = data.slice(1).map((line) => line.at(-1) ?? null);
  const csv = at(node, `/history${query({ since_ms: since, format: "csv" })}`);
  return (
    <Card
      title={title}
      more={
        <div className="row small" role="group" aria-label={`Time span of ${title}`}>
          {SPANS.map(([name, length]) => (
            <button key={name} type="button" className={length === span ? "on" : ""} aria-pressed={length === span} onClick={() => setSpan(length)}>{name}</button>
          ))}
          <a className="button" href={csv} download={`${node}.csv`}>CSV</a>
        </div>
      }
    >
      <ErrorNote error={history.error} />
      <Plot data={data} range={range} curves={curves} unit={unit} label={`${title}: ${curves.map((curve, i) => `${curve.label} ${shown(last[i] ?? null, unit)}`).join(", ")}`} />
      {data[0].length < 2 && <p className="soft small">The chart fills as time goes by: a point every ten seconds, kept for an hour; then every five minutes, hour and day.</p>}
    </Card>
  );
}

function Plot({ data, range, curves, unit, label }: { data: uPlot.AlignedData; range: [number, number]; curves: Curve[]; unit: Unit; label: string }) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(data);
  latest.current = data;
  const shownRange = useRef(range);
  shownRange.current = range;
  useEffect(() => {
    const target = place.current;
    if (target === null) return;
    const ink = getComputedStyle(document.documentElement).getPropertyValue("--soft");
    const line = getComputedStyle(document.documentElement).getPropertyValue("--line");
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
    const made = new uPlot(
      {
        width: target.clientWidth || 600,
        height: 220,
        legend: { live: true },
        cursor: { drag: { x: false, y: false } },
        scales: { x: { range: () => shownRange.current }, y: { range: (_plot, _low, high) => [0, high > 0 ? high * 1.08 : 1] } },
        axes: [axis, { ...axis, size: 84, values: (_plot, splits) => splits.map((value) => shown(value, unit)) }],
        series: [
          {},
          ...curves.map((curve, i) => ({
            label: curve.label,
            stroke: COLOURS[i % COLOURS.length] ?? "#888",
            width: 2,
            points: { show: data[0].length < 2 },
            value: (_plot: uPlot, value: number | null) => shown(value, unit),
          })),
        ],
      },
      latest.current,
      target,
    );
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: target.clientWidth, height: 220 }));
    observer.observe(target);
    return () => {
      observer.disconnect();
      made.destroy();
    };
    // The plot is made once for its curves; data comes by the effect below.
  }, [curves, unit]);
  useEffect(() => plot.current?.setData(data), [data, range]);
  return <div className="chart" ref={place} role="img" aria-label={label} />;
}
