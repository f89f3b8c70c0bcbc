// The gate: choosing the first password, entering it, and nothing behind it without a session.
import { useCallback, useEffect, useState, type FormEvent, type ReactNode } from "react";
import { call, get, takeWord, whenLocked } from "../api/client";
import type { Session } from "../api/types";
import { ErrorNote } from "./basic";

function tokenOfAddress(): string {
  return /^#token=([0-9a-f]+)$/.exec(window.location.hash)?.[1] ?? "";
}

export function Gate({ children }: { children: ReactNode }) {
  const [session, setSession] = useState<Session | null>(null);
  const [error, setError] = useState<unknown>(null);
  const take = useCallback((found: Session) => {
    takeWord(found.csrf);
    setSession(found);
  }, []);
  const look = useCallback(() => {
    get<Session>("/api/session").then((found) => { take(found); setError(null); }, setError);
  }, [take]);
  useEffect(() => {
    whenLocked(() => setSession((before) => (before === null ? before : { ...before, state: "locked", csrf: null })));
    look();
  }, [look]);
  if (session === null) {
    return (
      <main className="gate">
        <div className="card">
          {error === null ? <p role="status">Loading…</p> : <><ErrorNote error={error} /><button type="button" onClick={look}>Try again</button></>}
        </div>
      </main>
    );
  }
  if (session.state === "open") return children;
  return session.state === "first" ? <Choose onOpen={take} /> : <Enter onOpen={take} />;
}

function Brand() {
  return <h1 className="row"><img src="/favicon.svg" alt="" width={32} /> Cairn</h1>;
}

function Choose({ onOpen }: { onOpen: (session: Session) => void }) {
  const [token, setToken] = useState(tokenOfAddress);
  const [password, setPassword] = useState("");
  const [again, setAgain] = useState("");
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const differs = again !== "" && again !== password;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    call<Session>("POST", "/api/session", { token, password }).then(
      (session) => {
        window.history.replaceState(null, "", window.location.pathname);
        onOpen(session);
      },
      (refused: unknown) => { setError(refused); setBusy(false); },
    );
  };
  return (
    <main className="gate">
      <form className="card" onSubmit={submit}>
        <Brand />
        <p>Choose a password for this dashboard. Ten characters or more; four words that do not belong together are a good one.</p>
        <div className="field">
          <label htmlFor="token">First token</label>
          <input id="token" value={token} onChange={(event) => setToken(event.target.value)} required autoComplete="off" spellCheck={false} />
          <div className="hint">It is in the address that the daemon printed; <code>cairn dashboard</code> prints it again.</div>
        </div>
        <div className="field">
          <label htmlFor="password">Password</label>
          <input id="password" type="password" value={password} onChange={(event) => setPassword(event.target.value)} required minLength={10} autoComplete="new-password" />
        </div>
        <div className="field">
          <label htmlFor="again">The same again</label>
          <input id="again" type="password" value={again} onChange={(event) => setAgain(event.target.value)} required autoComplete="new-password" aria-describedby="differs" />
          <div className="hint" id="differs" role="status">{differs ? "It is not the same." : ""}</div>
        </div>
        <ErrorNote error={error} />
        <button className="main" type="submit" disabled={busy || password !== again}>Open the dashboard</button>
      </form>
    </main>
  );
}

function Enter({ onOpen }: { onOpen: (session: Session) => void }) {
  const [password, setPassword] = useState("");
  const [error, setError] = useState<unknown>(null);
  const [busy, setBusy] = useState(false);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    call<Session>("POST", "/api/session", { password }).then(onOpen, (refused: unknown) => { setError(refused); setBusy(false); });
  };
  return (
    <main className="gate">
      <form className="card" onSubmit={submit}>
        <Brand />
        <div className="field">
          <label htmlFor="password">Password</label>
          <input id="password" type="password" value={password} onChange={(event) => setPassword(event.target.value)} required autoComplete="current-password" autoFocus />
        </div>
        <ErrorNote error={error} />
        <button className="main" type="submit" disabled={busy}>Enter</button>
        <p className="hint">Forgotten? On the machine itself, <code>cairn dashboard --reset</code> lets you choose a new one.</p>
      </form>
    </main>
  );
}
