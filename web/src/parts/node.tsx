// Which of several nodes a page shows; the choice stays in the address.
import type { ReactNode } from "react";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useNodes } from "../api/live";
import type { Kind, NodeSample } from "../api/types";
import { Empty, ErrorNote, Title } from "./basic";
import { ApiError } from "../api/client";

/** Chooses one of several nodes; with one there is nothing to choose. */
export function NodeChoice({ nodes, chosen, onChoose }: { nodes: NodeSample[]; chosen: string; onChoose: (name: string) => void }) {
  if (nodes.length < 2) return null;
  return (
    <>
      <label className="hidden" htmlFor="node">Node</label>
      <select id="node" value={chosen} onChange={(event) => onChoose(event.target.value)}>
        {nodes.map((one) => <option key={one.name} value={one.name}>{one.name}{one.error === null ? "" : " (down)"}</option>)}
      </select>
    </>
  );
}

const STARTING: Record<Kind, string> = {
  provider: "cairn init --role provider\ncairn provider --space /mnt/disk=500GiB --bootstrap ADDRESS --chain URL",
  gateway: "cairn init --role gateway\ncairn gateway --bootstrap ADDRESS --chain URL",
  peer: "cairn peer",
  delegate: "cairn init --role delegate\ncairn delegate run --for GATEWAY-NODE --bootstrap ADDRESS --chain URL",
  chain: "cairn chain",
};

export function NodePage({ kind, title, more, children }: {
  kind: Kind; title: string; more?: (node: NodeSample) => ReactNode; children: (node: NodeSample) => ReactNode;
}) {
  const nodes = useNodes(kind);
  const search: { node?: string } = useSearch({ strict: false });
  const navigate = useNavigate();
  const node = nodes.find((one) => one.name === search.node) ?? nodes[0];
  if (node === undefined) {
    return (
      <>
        <Title>{title}</Title>
        <Empty title={`This dashboard shows no ${kind}`}>
          <p>Start one on this machine, and add it to this dashboard with <code>--dashboard-node NAME=DIRECTORY</code>:</p>
          <pre>{STARTING[kind]}</pre>
        </Empty>
      </>
    );
  }
  const choose = <NodeChoice nodes={nodes} chosen={node.name} onChoose={(name) => void navigate({ to: ".", search: { node: name } })} />;
  return (
    <>
      <Title more={<>{choose}{more?.(node)}</>}>{title}</Title>
      {node.error !== null && <ErrorNote error={new ApiError(503, "NodeUnavailable", node.error.message, node.error.remedy)} />}
      <div key={node.name}>{children(node)}</div>
    </>
  );
}

/** For nodes without a ledger: there is no money to show. */
export function Unpaid({ node }: { node: NodeSample }) {
  return (
    <Empty title={`${node.name} has no ledger`}>
      <p>Nobody is audited or paid. Start it with a ledger to be:</p>
      <pre>{`cairn ${node.kind} … --chain URL`}</pre>
    </Empty>
  );
}
