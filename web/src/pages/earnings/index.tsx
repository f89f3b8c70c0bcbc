// A provider's credits: potential, accrued, redeemed, in the wallet; over time and per deal; and the payout.
import { useQueryClient } from "@tanstack/react-query";
import { at, call } from "../../api/client";
import { useEarnings, useOffers, useProviderDeals } from "../../api/queries";
import { useNodes } from "../../api/live";
import type { Earnings, NodeSample, Offer, ProviderDeal } from "../../api/types";
import { bytes, perTib, utc } from "../../lib/format";
import { csv, save } from "../../lib/csv";
import { Act, Card, Empty, Id, Loaded, Money, Stat, Table } from "../../parts/basic";
import { HistoryChart } from "../../parts/chart";
import { NodePage, Unpaid } from "../../parts/node";

const CURVES = [
  { series: "potential", label: "potential" },
  { series: "accrued", label: "accrued" },
  { series: "redeemed", label: "redeemed" },
];
const MONTH_MS = 30n * 86_400_000n;
const GIB = 1n << 30n;

export function EarningsPage() {
  return (
    <NodePage kind="provider" title="Earnings">
      {(node) => (node.status !== null && node.money === null && node.wallet === null ? <Unpaid node={node} /> : <Paid node={node} />)}
    </NodePage>
  );
}

function Paid({ node }: { node: NodeSample }) {
  const earnings = useEarnings(node.name);
  const deals = useProviderDeals(node.name);
  return (
    <>
      <Loaded query={earnings}>{(found) => <Sums found={found} node={node.name} />}</Loaded>
      <HistoryChart node={node.name} title="Credits over time" unit="credits" curves={CURVES} />
      <Loaded query={deals}>
        {({ deals: all }) => (
          <>
            <Estimate deals={all} />
            <PerDeal deals={all} node={node.name} />
          </>
        )}
      </Loaded>
      <Prices deals={deals.data?.deals ?? []} />
    </>
  );
}

function Sums({ found, node }: { found: Earnings; node: string }) {
  const queries = useQueryClient();
  const redeem = () => call("POST", at(node, "/v1/redeem"), {}).then(() => queries.invalidateQueries());
  return (
    <>
      <div className="cards">
        <Stat label="Potential" value={<span id="potential"><Money of={found.potential} /></span>} more="stored and read since the last payment, not yet promised" />
        <Stat label="Accrued" value={<span id="accrued"><Money of={found.accrued} /></span>} more="promised by vouchers, not yet redeemed" />
        <Stat label="Redeemed" value={<span id="redeemed"><Money of={found.redeemed} /></span>} more="paid out to the wallet so far" />
        <Stat label="In the wallet" value={<span id="credits"><Money of={found.credits} /></span>} more={<Id of={found.owner} />} />
      </div>
      <Card title="Payout">
        <p className="small">
          {found.redeem_from === null
            ? "The ledger does not answer: what it costs to redeem is not known now."
            : <>A client's promises are redeemed by themselves from <Money of={found.redeem_from} /> on; the transaction costs <Money of={found.redeem_cost} /> now.</>}
        </p>
        <Act label="Redeem all now" main act={redeem} disabled={found.accrued === "0"} />
        {!found.conserved && <div className="note bad">The journal does not balance: keep the data directory and report it.</div>}
      </Card>
    </>
  );
}

/** What storage pays in a month if everything stays as it is: its inputs are shown with it. */
function Estimate({ deals }: { deals: ProviderDeal[] }) {
  const month = deals.reduce((total, deal) => total + (BigInt(deal.stored_len) * BigInt(deal.storage_price)) / GIB, 0n);
  const first = deals.reduce((first, deal) => Math.min(first, deal.since), Date.now());
  const earned = deals.reduce((total, deal) => total + BigInt(deal.owed), 0n);
  const ran = BigInt(Math.max(1, Date.now() - first));
  return (
    <Card title="A month from now">
      <dl>
        <dt>If all stays as it is</dt><dd><Money of={month.toString()} /> for storage in 30 days</dd>
        <dt>From</dt><dd>{bytes(deals.reduce((total, deal) => total + deal.stored_len, 0))} stored in {deals.length} {deals.length === 1 ? "deal" : "deals, each at its own price"}</dd>
        <dt>At the pace so far</dt><dd><Money of={deals.length === 0 ? "0" : ((earned * MONTH_MS) / ran).toString()} /> for storage and reads, by <Money of={earned.toString()} /> since {utc(first)}</dd>
      </dl>
    </Card>
  );
}

function PerDeal({ deals, node }: { deals: ProviderDeal[]; node: string }) {
  const rows = () => [
    ["deal", "client", "stored_len", "egress_len", "potential", "accrued", "redeemed"],
    ...deals.map((deal) => [deal.deal, deal.client, deal.stored_len, deal.egress_len, deal.potential, deal.accrued, deal.redeemed]),
  ];
  return (
    <Card title="By deal" more={deals.length > 0 && <button type="button" onClick={() => save(`${node}-deals.csv`, csv(rows()))}>CSV</button>}>
      {deals.length === 0 ? (
        <Empty title="No client has a deal with this provider yet"><p>Clients find it by its advert. See that it is reachable from outside: <code>cairn doctor</code>.</p></Empty>
      ) : (
        <Table
          label="Earnings by deal"
          rows={deals}
          keyOf={(deal) => deal.deal}
          columns={[
            { head: "Client", cell: (deal) => <Id of={deal.client} /> },
            { head: "Stored", numeric: true, cell: (deal) => bytes(deal.stored_len) },
            { head: "Read", numeric: true, cell: (deal) => bytes(deal.egress_len) },
            { head: "Potential", numeric: true, cell: (deal) => <Money of={deal.potential} /> },
            { head: "Accrued", numeric: true, cell: (deal) => <Money of={deal.accrued} /> },
            { head: "Redeemed", numeric: true, cell: (deal) => <Money of={deal.redeemed} /> },
          ]}
        />
      )}
    </Card>
  );
}

function rank(offers: Offer[], price: bigint): number {
  return offers.filter((offer) => BigInt(offer.storage_price) < price).length;
}

/** Where this provider's price is among the offers that a gateway of this dashboard has seen. */
function Prices({ deals }: { deals: ProviderDeal[] }) {
  const gateway = useNodes("gateway")[0];
  const offers = useOffers(gateway?.name ?? null);
  const own = deals[0]?.storage_price;
  const all = offers.data?.offers ?? [];
  return (
    <Card title="Price">
      {own !== undefined && <p>A TiB and month costs <Money of={perTib(own)} /> here, a TiB read <Money of={perTib(deals[0]?.egress_price)} />{all.length > 1 && <>; {rank(all, BigInt(own))} of {all.length} providers ask less</>}.</p>}
      <p className="small soft">Prices are set with <code>--storage-price</code> and <code>--egress-price</code>, or in the configuration file, and hold for deals made from then on.</p>
    </Card>
  );
}
