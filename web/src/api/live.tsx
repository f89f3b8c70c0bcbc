// The live sample of all nodes, by server-sent events; a page that lost the connection says so and goes on with what it has.
import { createContext, useContext, useEffect, useState, type ReactNode } from "react";
import { get } from "./client";
import type { Kind, NodeSample, Sample, Session } from "./types";

interface Live { sample: Sample | null; connected: boolean }
const Context = createContext<Live>({ sample: null, connected: false });

export function LiveProvider({ children }: { children: ReactNode }) {
  const [live, setLive] = useState<Live>({ sample: null, connected: false });
  useEffect(() => {
    const source = new EventSource("/api/events");
    source.addEventListener("sample", (event) => setLive({ sample: JSON.parse(event.data) as Sample, connected: true }));
    source.addEventListener("error", () => {
      setLive((before) => ({ ...before, connected: false }));
      // An event source does not tell a session that ended from a daemon that is down; this does.
      void get<Session>("/api/session")
        .then((session) => session.state !== "open" && window.location.reload())
        .catch(() => undefined);
    });
    return () => source.close();
  }, []);
  return <Context.Provider value={live}>{children}</Context.Provider>;
}

export function useLive(): Live {
  return useContext(Context);
}

/** The nodes of a kind. */
export function useNodes(...kinds: Kind[]): NodeSample[] {
  return (useLive().sample?.nodes ?? []).filter((node) => kinds.includes(node.kind));
}
