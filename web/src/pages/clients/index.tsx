// A provider's deals with clients and their channels.
import { useProviderDeals } from "../../api/queries";
import { bytes, count, duration, perTib } from "../../lib/format";
import { Badge, Card, Empty, Id, Loaded, Money, Table, When } from "../../parts/basic";
import { Disputes } from "../../parts/disputes";
import { NodePage, Unpaid } from "../../parts/node";

export function Clients() {
  return (
    <NodePage kind="provider" title="Deals">
      {(node) => (node.status !== null && node.money === null && node.wallet === null ? <Unpaid node={node} /> : <Deals node={node.name} />)}
    </NodePage>
  );
}

function Deals({ node }: { node: string }) {
  const deals = useProviderDeals(node);
  return (
    <>
      <Card title="Deals and their channels">
        <Loaded query={deals}>
          {({ deals: all }) =>
            all.length === 0 ? <Empty title="No client has a deal with this provider yet" /> : (
              <Table
                label="Deals"
                rows={all}
                keyOf={(deal) => deal.deal}
                columns={[
                  { head: "Deal", cell: (deal) => <Id of={deal.deal} /> },
                  { head: "Client", cell: (deal) => <Id of={deal.client} /> },
                  { head: "Channel", cell: (deal) => <><Badge kind={deal.channel_state === "open" ? "good" : "warn"}>{deal.channel_state}</Badge> <Id of={deal.channel} /></> },
                  { head: "Deposit", numeric: true, cell: (deal) => <Money of={deal.deposit} /> },
                  { head: "Owed in all", numeric: true, cell: (deal) => <Money of={deal.owed} /> },
                  { head: "Stored", numeric: true, cell: (deal) => `${bytes(deal.stored_len)} in ${count(deal.shards)}` },
                  { head: "TiB and month", numeric: true, cell: (deal) => <Money of={perTib(deal.storage_price)} /> },
                  { head: "Epoch", numeric: true, cell: (deal) => duration(deal.epoch_ms) },
                  { head: "Committed", cell: (deal) => <When at={deal.committed_at} /> },
                  { head: "", cell: (deal) => deal.overdue && <Badge kind="bad">payment overdue</Badge> },
                ]}
              />
            )
          }
        </Loaded>
      </Card>
      <Card title="Disputes against this provider">
        <Disputes node={node} />
      </Card>
    </>
  );
}
