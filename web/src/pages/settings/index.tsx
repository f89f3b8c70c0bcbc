// The dashboard's own settings: theme, password, the session; and where each node keeps its own.
import { useState, type FormEvent } from "react";
import { call, takeWord } from "../../api/client";
import { useLive } from "../../api/live";
import type { Session } from "../../api/types";
import { utc } from "../../lib/format";
import { chooseTheme, chosenTheme, type Theme } from "../../lib/theme";
import { Act, Card, ErrorNote, Table, Title } from "../../parts/basic";

export function Settings() {
  const { sample } = useLive();
  return (
    <>
      <Title>Settings</Title>
      <Looks />
      <Password />
      <Card title="Session">
        <p className="small">A session lasts twelve hours, in this browser alone.</p>
        <Act label="Leave" act={() => call("DELETE", "/api/session").then(() => window.location.assign("/"))} />
      </Card>
      <Card title="Nodes">
        <p className="small">A node's settings are flags, environment or its configuration file; <code>cairn config ROLE</code> prints them. More nodes are shown here with <code>--dashboard-node NAME=DIRECTORY</code>.</p>
        <Table
          label="Nodes"
          rows={sample?.nodes ?? []}
          keyOf={(node) => node.name}
          columns={[
            { head: "Node", cell: (node) => node.name },
            { head: "Directory", cell: (node) => <code>{node.status?.dir ?? "–"}</code> },
            { head: "Process", numeric: true, cell: (node) => node.status?.pid ?? "–" },
            { head: "Since", cell: (node) => utc(node.status?.started_at_ms) },
            { head: "Version", cell: (node) => node.status?.version ?? "–" },
          ]}
        />
      </Card>
      <Card title="For monitors">
        <p className="small"><code>/metrics</code> is for Prometheus, <code>/health</code> says that this process answers, <code>/ready</code> that every node does.</p>
      </Card>
    </>
  );
}

function Looks() {
  const [theme, setTheme] = useState<Theme>(chosenTheme);
  const choose = (wanted: Theme) => {
    chooseTheme(wanted);
    setTheme(wanted);
  };
  return (
    <Card title="Looks">
      <div className="row" role="group" aria-label="Theme">
        {(["system", "light", "dark"] as const).map((name) => (
          <button key={name} type="button" className={theme === name ? "on" : ""} aria-pressed={theme === name} onClick={() => choose(name)}>{name === "system" ? "As the system" : name === "light" ? "Light" : "Dark"}</button>
        ))}
      </div>
    </Card>
  );
}

function Password() {
  const [old, setOld] = useState("");
  const [fresh, setFresh] = useState("");
  const [state, setState] = useState<{ done: boolean; error: unknown }>({ done: false, error: null });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    call<Session>("PUT", "/api/password", { old, new: fresh }).then(
      (session) => {
        takeWord(session.csrf);
        setOld("");
        setFresh("");
        setState({ done: true, error: null });
      },
      (error: unknown) => setState({ done: false, error }),
    );
  };
  return (
    <Card title="Password">
      <form onSubmit={submit} className="row">
        <div><label htmlFor="old">Old password</label><input id="old" type="password" value={old} onChange={(event) => setOld(event.target.value)} required autoComplete="current-password" /></div>
        <div><label htmlFor="fresh">New password</label><input id="fresh" type="password" value={fresh} onChange={(event) => setFresh(event.target.value)} required minLength={10} autoComplete="new-password" /></div>
        <button type="submit">Change it</button>
      </form>
      {state.done && <div className="note good" role="status">Changed. All other sessions have ended.</div>}
      <ErrorNote error={state.error} />
    </Card>
  );
}
