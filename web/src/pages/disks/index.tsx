// A provider's disks: used, free, reserved, and why one takes no writes.
import { bytes, count } from "../../lib/format";
import { Badge, Bar, Card, Empty, Stat } from "../../parts/basic";
import { HistoryChart } from "../../parts/chart";
import { NodePage } from "../../parts/node";

const CURVES = [{ series: "used_len", label: "used" }, { series: "total_len", label: "rented out" }];

export function Disks() {
  return (
    <NodePage kind="provider" title="Disks">
      {(node) => {
        const store = node.status?.store;
        if (store === undefined) return <Empty title="Nothing is known of its disks while it does not answer" />;
        return (
          <>
            <div className="cards">
              <Stat label="Used" value={bytes(store.used_len)} more={`of ${bytes(store.total_len)} rented out`} />
              <Stat label="Free" value={bytes(store.free_len)} more={store.accepting ? "new shards are taken" : "no new shards are taken"} />
              <Stat label="Arriving" value={bytes(store.reserved_len)} more={`${count(node.status?.server?.stores)} shards on their way`} />
              <Stat label="Shards" value={count(store.shards)} more={`${count(node.status?.server?.streams)} streams of ${count(node.status?.server?.peers)} clients open`} />
            </div>
            {store.disks.map((disk) => (
              <Card key={disk.id}>
                <div className="row between">
                  <h2><code>{disk.path}</code></h2>
                  {disk.read_only === null ? <Badge kind="good">writable</Badge> : <Badge kind="bad">takes no writes</Badge>}
                </div>
                {disk.read_only !== null && <div className="note bad"><strong>{disk.read_only}</strong><div>Mend or replace the disk, then start the provider again; <code>cairn doctor</code> looks at it.</div></div>}
                <Bar
                  label={`${bytes(disk.used_len)} used, ${bytes(disk.reserved_len)} reserved, ${bytes(disk.free_len)} free`}
                  total={disk.quota_len}
                  parts={[{ value: disk.used_len, colour: "#0f9d8f" }, { value: disk.reserved_len, colour: "#c2740c" }]}
                />
                <dl>
                  <dt>Used</dt><dd>{bytes(disk.used_len)} of {bytes(disk.quota_len)}, in {count(disk.shards)} shards</dd>
                  <dt>Free</dt><dd>{bytes(disk.free_len)} for new shards; {bytes(disk.reserve_len)} of the file system are left alone</dd>
                  <dt>Reserved</dt><dd>{bytes(disk.reserved_len)} for shards on their way</dd>
                  <dt>Given back at the last start</dt><dd>{bytes(disk.collected_len)} without an owner</dd>
                </dl>
              </Card>
            ))}
            <HistoryChart node={node.name} title="Space over time" unit="bytes" curves={CURVES} />
          </>
        );
      }}
    </NodePage>
  );
}
