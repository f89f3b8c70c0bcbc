// A gateway's providers: who is used, how they did, the deal and its channel, and closing it.
import { useQueryClient } from "@tanstack/react-query";
import { at, call } from "../../api/client";
import { useClientDeals } from "../../api/queries";
import type { ClientDeal, NodeSample } from "../../api/types";
import { bytes, count, latency, perTib, permille } from "../../lib/format";
import { Act, Badge, Card, Empty, Id, Loaded, Money, Table, When } from "../../parts/basic";
import { NodePage } from "../../parts/node";

export function Providers() {
  return (
    <NodePage kind="gateway" title="Providers">
      {(node) => (
        <>
          <Known node={node} />
          {node.money !== null && <Deals node={node.name} />}
        </>
      )}
    </NodePage>
  );
}

function Known({ node }: { node: NodeSample }) {
  const all = node.status?.providers ?? [];
  return (
    <Card title={`${all.filter((one) => one.usable).length} of ${all.length} providers are given new shards`} more={<span className="small soft">redundancy {node.status?.tier?.redundancy ?? "not enough providers"}</span>}>
      {all.length === 0 ? <Empty title="No provider was found yet"><p>Give the address of a node of the network with <code>--bootstrap</code>.</p></Empty> : (
        <Table
          label="Providers"
          rows={all}
          keyOf={(one) => one.node}
          columns={[
            { head: "Provider", cell: (one) => <Id of={one.node} /> },
            { head: "Used", cell: (one) => (one.usable ? <Badge kind="good">yes</Badge> : <Badge kind="warn">no</Badge>) },
            { head: "Why not", cell: (one) => <span className="small">{one.barred ?? one.last_failure ?? (!one.usable && one.free_len === 0 ? "it takes no shards now" : "")}</span> },
            { head: "Region", cell: (one) => one.region || "–" },
            { head: "Free", numeric: true, cell: (one) => bytes(one.free_len) },
            { head: "First answer", numeric: true, cell: (one) => latency(one.latency_us) },
            { head: "Reads", numeric: true, cell: (one) => count(one.reads) },
            { head: "Stored", numeric: true, cell: (one) => count(one.stores) },
            { head: "Failed", numeric: true, cell: (one) => count(one.failures) },
          ]}
        />
      )}
    </Card>
  );
}

function Deals({ node }: { node: string }) {
  const deals = useClientDeals(node);
  const queries = useQueryClient();
  const close = (deal: ClientDeal) => call("POST", at(node, `/v1/channels/${encodeURIComponent(deal.provider)}/close`), {}).then(() => queries.invalidateQueries());
  return (
    <Card title="Deals and channels">
      <Loaded query={deals}>
        {({ deals: all }) => all.length === 0 ? <Empty title="There is no deal yet"><p>A deal is made with each provider when the first object is stored.</p></Empty> : (
          <Table
            label="Deals"
            rows={all}
            keyOf={(deal) => deal.deal}
            columns={[
              { head: "Provider", cell: (deal) => <Id of={deal.provider} /> },
              { head: "Stored", numeric: true, cell: (deal) => `${bytes(deal.stored_len)} in ${count(deal.shards)}` },
              { head: "Deposit", numeric: true, cell: (deal) => <Money of={deal.deposit} /> },
              { head: "Promised", numeric: true, cell: (deal) => <Money of={deal.promised} /> },
              { head: "Owed", numeric: true, cell: (deal) => <Money of={deal.potential} /> },
              { head: "TiB and month", numeric: true, cell: (deal) => <Money of={perTib(deal.storage_price)} /> },
              { head: "Durability", numeric: true, cell: (deal) => permille(deal.durability.permille) },
              { head: "Retrieval", numeric: true, cell: (deal) => permille(deal.retrieval.permille) },
              { head: "Audited", cell: (deal) => <When at={deal.audited} /> },
              { head: "Next", cell: (deal) => <When at={deal.next_audit} /> },
              { head: "Trouble", cell: (deal) => <span className="small">{deal.barred ?? deal.alarm ?? ""}</span> },
              { head: "", cell: (deal) => (deal.closing ? <Badge kind="warn">closing</Badge> : <Act label="Close" danger act={() => close(deal)} ask="Close the channel? What the provider stores is built anew elsewhere over time, and the rest of the deposit comes back after the grace period." />) },
            ]}
          />
        )}
      </Loaded>
    </Card>
  );
}
