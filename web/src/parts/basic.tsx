// Small parts that every page uses.
import { useEffect, useId, useRef, useState, type ReactNode } from "react";
import { ApiError } from "../api/client";
import { credits, creditsExact, relative, shortId, utc } from "../lib/format";

export function Card({ title, more, children }: { title?: string; more?: ReactNode; children: ReactNode }) {
  return (
    <section className="card" {...(title === undefined ? {} : { "aria-label": title })}>
      {title !== undefined && <div className="row between"><h2>{title}</h2>{more}</div>}
      {children}
    </section>
  );
}

export function Stat({ label, value, more }: { label: string; value: ReactNode; more?: ReactNode }) {
  return (
    <div className="card stat">
      <div className="label">{label}</div>
      <div className="value">{value}</div>
      {more !== undefined && <div className="more">{more}</div>}
    </div>
  );
}

export function Badge({ kind, children }: { kind?: "good" | "warn" | "bad"; children: ReactNode }) {
  return <span className={`badge ${kind ?? ""}`}>{children}</span>;
}

/** An amount: short, with every digit in its title. */
export function Money({ of }: { of: string | null | undefined }) {
  return <span title={creditsExact(of)} data-base={of ?? ""}>{credits(of)}</span>;
}

/** A moment: how long ago, with the exact one in its title. */
export function When({ at }: { at: number | null | undefined }) {
  return <time title={utc(at)} {...(at ? { dateTime: new Date(Math.min(at, 8.64e15)).toISOString() } : {})}>{relative(at, Date.now())}</time>;
}

/** A long id, short, to be copied whole. */
export function Id({ of }: { of: string | null | undefined }) {
  return <code title={of ?? ""}>{shortId(of)}</code>;
}

/** What went wrong and what helps. */
export function ErrorNote({ error }: { error: unknown }) {
  if (error === null || error === undefined) return null;
  const remedy = error instanceof ApiError ? error.remedy : "";
  return (
    <div className="note bad" role="alert">
      <strong>{error instanceof Error ? error.message : String(error)}</strong>
      {remedy !== "" && <div>{remedy}</div>}
    </div>
  );
}

interface Loading<T> { data: T | undefined; error: unknown; isPending: boolean }

/** The data of a query, or its error, or that it is on its way. Old data stays while the error is shown. */
export function Loaded<T>({ query, children }: { query: Loading<T>; children: (data: T) => ReactNode }) {
  return (
    <>
      <ErrorNote error={query.error} />
      {query.data !== undefined ? children(query.data) : query.isPending && <p className="soft" role="status">Loading…</p>}
    </>
  );
}

/** What somebody sees before there is anything, and what to do about it. */
export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return <div className="empty"><h2>{title}</h2>{children}</div>;
}

/** How full something is; said in words too. */
export function Bar({ parts, total, label }: { parts: { value: number; colour: string }[]; total: number; label: string }) {
  let from = 0;
  return (
    <div className="bar" role="img" aria-label={label}>
      <svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">
        {parts.map((part) => {
          const width = total > 0 ? Math.min(100 - from, (part.value / total) * 100) : 0;
          const left = from;
          from += width;
          return <rect key={part.colour} x={left} y={0} width={width} height={1} fill={part.colour} />;
        })}
      </svg>
    </div>
  );
}

export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ReactNode }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const shown = dialog.current;
    if (shown !== null && !shown.open) shown.showModal();
  }, []);
  return (
    <dialog ref={dialog} aria-labelledby={id} onClose={onClose}>
      <div className="row between">
        <h2 id={id}>{title}</h2>
        <button type="button" onClick={() => dialog.current?.close()}>Close</button>
      </div>
      {children}
    </dialog>
  );
}

export function Copy({ text, label }: { text: string; label: string }) {
  const [done, setDone] = useState(false);
  return (
    <button
      type="button"
      onClick={() => void navigator.clipboard.writeText(text).then(() => setDone(true), () => setDone(false))}
    >
      {done ? "Copied" : label}
    </button>
  );
}

/** A button of something that takes a while: it cannot be pressed twice, and shows its error beside it. */
export function Act({ label, act, main, danger, ask, disabled }: {
  label: string; act: () => Promise<unknown>; main?: boolean; danger?: boolean; ask?: string; disabled?: boolean;
}) {
  const [state, setState] = useState<{ busy: boolean; error: unknown }>({ busy: false, error: null });
  const run = () => {
    if (ask !== undefined && !window.confirm(ask)) return;
    setState({ busy: true, error: null });
    act().then(() => setState({ busy: false, error: null }), (error: unknown) => setState({ busy: false, error }));
  };
  return (
    <>
      <button type="button" className={main ? "main" : danger ? "danger" : ""} disabled={state.busy || disabled} onClick={run}>
        {state.busy ? `${label}…` : label}
      </button>
      <ErrorNote error={state.error} />
    </>
  );
}

export interface Column<Row> { head: string; numeric?: boolean; cell: (row: Row) => ReactNode }

/** A table that scrolls by itself on a narrow screen. */
export function Table<Row>({ label, columns, rows, keyOf }: {
  label: string; columns: Column<Row>[]; rows: Row[]; keyOf: (row: Row) => string | number;
}) {
  return (
    // A region that scrolls has to be reached by keyboard.
    <div className="scroll" tabIndex={0} role="region" aria-label={label}>
      <table>
        <thead><tr>{columns.map((column) => <th key={column.head} scope="col" className={column.numeric ? "num" : ""}>{column.head}</th>)}</tr></thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)} className="pick">
              {columns.map((column) => <td key={column.head} className={column.numeric ? "num" : ""}>{column.cell(row)}</td>)}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

export function Title({ children, more }: { children: ReactNode; more?: ReactNode }) {
  return <div className="top"><h1>{children}</h1><div className="row">{more}</div></div>;
}
