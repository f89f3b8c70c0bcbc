// The frame around every page: where one can go, what is alive, and the page itself.
import { useState } from "react";
import { Link, Outlet, useRouterState } from "@tanstack/react-router";
import { useLive } from "../api/live";
import { relative } from "../lib/format";
import type { Kind } from "../api/types";

const GROUPS: { title: string; needs: Kind | null; items: [string, string][] }[] = [
  { title: "", needs: null, items: [["/", "Overview"], ["/alerts", "Alerts"], ["/network", "Network"]] },
  { title: "Rent out", needs: "provider", items: [["/earnings", "Earnings"], ["/disks", "Disks"], ["/clients", "Deals"]] },
  { title: "Store", needs: "gateway", items: [["/buckets", "Buckets"], ["/keys", "Keys"], ["/spending", "Spending"], ["/providers", "Providers"], ["/audits", "Audits"]] },
  { title: "", needs: null, items: [["/ledger", "Ledger"], ["/settings", "Settings"]] },
];

export function Shell() {
  const { sample, connected } = useLive();
  const [open, setOpen] = useState(false);
  const path = useRouterState({ select: (state) => state.location.pathname });
  const kinds = new Set(sample?.nodes.map((node) => node.kind) ?? []);
  return (
    <>
      <a className="skip" href="#page">Skip to the page</a>
      <div className="shell">
        <header className={`side ${open ? "open" : ""}`}>
          <div className="row">
            <Link to="/" className="brand"><img src="/favicon.svg" alt="" />Cairn</Link>
            <button type="button" className="menu" aria-expanded={open} aria-controls="nav" onClick={() => setOpen(!open)}>Menu</button>
          </div>
          <nav id="nav" aria-label="Pages">
            {GROUPS.filter((group) => group.needs === null || kinds.has(group.needs)).map((group, at) => (
              <div key={at}>
                {group.title !== "" && <div className="group">{group.title}</div>}
                {group.items.map(([to, name]) => {
                  const active = to === "/" ? path === "/" : path.startsWith(to);
                  return (
                    <Link key={to} to={to} className={`item ${active ? "active" : ""}`} onClick={() => setOpen(false)} {...(active ? { "aria-current": "page" } : {})}>
                      {name}
                      {to === "/alerts" && (sample?.alerts ?? 0) > 0 && <span className="badge bad">{sample?.alerts}</span>}
                    </Link>
                  );
                })}
              </div>
            ))}
          </nav>
          <div className="foot" role="status">
            {connected ? "Live" : sample === null ? "Connecting…" : `Not connected; as of ${relative(sample.at, Date.now())}`}
          </div>
        </header>
        <main id="page" tabIndex={-1}>
          <Outlet />
        </main>
      </div>
    </>
  );
}
