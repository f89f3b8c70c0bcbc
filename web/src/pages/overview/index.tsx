// Everything in one look: what is stored or rented, its health, the balance, what needs attention.
import { Link } from "@tanstack/react-router";
import { useLive } from "../../api/live";
import { useAlerts } from "../../api/queries";
import type { Earnings, NodeSample, Spending } from "../../api/types";
import { bytes, count, sum } from "../../lib/format";
import { Badge, Bar, Card, Empty, Money, Stat, Table, Title } from "../../parts/basic";

export function Overview() {
  const { sample } = useLive();
  if (sample === null) return <><Title>Overview</Title><p role="status" className="soft">Asking the nodes…</p></>;
  const providers = sample.nodes.filter((node) => node.kind === "provider");
  const gateways = sample.nodes.filter((node) => node.kind === "gateway");
  return (
    <>
      <Title>Overview</Title>
      <Attention />
      {gateways.length > 0 && <Storing nodes={gateways} />}
      {providers.length > 0 && <Renting nodes={providers} />}
      <Card title="Nodes">
        <Table
          label="Nodes"
          rows={sample.nodes}
          keyOf={(node) => node.name}
          columns={[
            { head: "Node", cell: (node) => <strong>{node.name}</strong> },
            { head: "Role", cell: (node) => (node.kind === "chain" ? "ledger" : node.kind) },
            {
              head: "State",
              cell: (node) =>
                node.error === null ? <Badge kind="good">up</Badge> : <><Badge kind="bad">down</Badge> <span className="small">{node.error.remedy}</span></>,
            },
            { head: "Version", cell: (node) => node.status?.version ?? "–" },
            { head: "Peers", numeric: true, cell: (node) => count(node.status?.net?.connected.length) },
          ]}
        />
      </Card>
    </>
  );
}

function Attention() {
  const alerts = (useAlerts().data?.alerts ?? []).filter((alert) => alert.over === null && alert.acknowledged === null);
  if (alerts.length === 0) return <div className="note good">Nothing needs your attention.</div>;
  return (
    <>
      {alerts.slice(0, 3).map((alert) => (
        <div key={alert.id} className={`note ${alert.severity === "critical" ? "bad" : "warn"}`}>
          <strong>{alert.title}</strong>
          <div>{alert.cause}</div>
          <div className="small">{alert.remedy}</div>
        </div>
      ))}
      <p><Link to="/alerts">{alerts.length > 3 ? `All ${alerts.length} alerts` : "All alerts"}</Link></p>
    </>
  );
}

const total = (nodes: NodeSample[], of: (node: NodeSample) => number | undefined) =>
  nodes.reduce((all, node) => all + (of(node) ?? 0), 0);

function Storing({ nodes }: { nodes: NodeSample[] }) {
  const health = (of: "segments" | "whole" | "degraded" | "due" | "lost") => total(nodes, (node) => node.health?.[of]);
  const money = nodes.map((node) => node.money as Spending | null);
  const objects = total(nodes, (node) => node.status?.objects?.objects);
  return (
    <section aria-label="Storing">
      <div className="cards">
        <Stat label="Stored" value={bytes(total(nodes, (node) => node.status?.objects?.object_bytes))} more={`${count(objects)} objects in ${count(total(nodes, (node) => node.status?.objects?.buckets))} buckets`} />
        <Stat
          label="Health"
          value={health("lost") > 0 ? <Badge kind="bad">{count(health("lost"))} segments cannot be read</Badge> : health("due") > 0 ? <Badge kind="warn">{count(health("due"))} wait for repair</Badge> : <Badge kind="good">all can be read</Badge>}
          more={`${count(health("whole"))} of ${count(health("segments"))} segments whole`}
        />
        {money.some((one) => one !== null) && (
          <>
            <Stat label="In the wallet" value={<Money of={sum(nodes.map((node) => node.wallet?.credits))} />} more={<>and <Money of={sum(money.map((one) => one?.now.deposited))} /> in channels</>} />
            <Stat label="Promised to providers" value={<Money of={sum(money.map((one) => one?.now.promised))} />} more={<><Money of={sum(money.map((one) => one?.now.redeemed))} /> redeemed so far</>} />
          </>
        )}
      </div>
      {objects === 0 && (
        <Card>
          <Empty title="Nothing is stored yet">
            <p><Link to="/buckets">Make a bucket</Link> and drop files on it, or <Link to="/keys">make a key</Link> for your S3 tools.</p>
          </Empty>
        </Card>
      )}
    </section>
  );
}

function Renting({ nodes }: { nodes: NodeSample[] }) {
  const store = (of: "total_len" | "used_len" | "free_len" | "reserved_len") => total(nodes, (node) => node.status?.store?.[of]);
  const money = nodes.map((node) => node.money as Earnings | null);
  const used = store("used_len");
  return (
    <section aria-label="Renting out">
      <div className="cards">
        <Stat
          label="Rented out"
          value={`${bytes(used)} of ${bytes(store("total_len"))}`}
          more={<Bar label={`${bytes(used)} used, ${bytes(store("free_len"))} free`} total={store("total_len")} parts={[{ value: used, colour: "#0f9d8f" }, { value: store("reserved_len"), colour: "#c2740c" }]} />}
        />
        <Stat label="Shards" value={count(total(nodes, (node) => node.status?.store?.shards))} more={`on ${nodes.length} ${nodes.length === 1 ? "provider" : "providers"}`} />
        {money.some((one) => one !== null) && (
          <>
            <Stat label="Earned and not yet promised" value={<Money of={sum(money.map((one) => one?.potential))} />} more={<><Money of={sum(money.map((one) => one?.accrued))} /> promised by vouchers</>} />
            <Stat label="Paid out so far" value={<Money of={sum(money.map((one) => one?.redeemed))} />} more={<Link to="/earnings">Earnings</Link>} />
          </>
        )}
      </div>
    </section>
  );
}
