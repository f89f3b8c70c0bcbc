// A gateway's credits: what was promised, to come, budget, top up.
import { useQueries, useQueryClient } from "@tanstack/react-query";
import { at, call, get } from "../../api/client";
import { useBuckets, useSpending, useWallet } from "../../api/queries";
import type { BucketCost, NodeSample, Spending } from "../../api/types";
import { bytes, count, utc } from "../../lib/format";
import { csv, save } from "../../lib/csv";
import { Act, Card, Copy, Empty, Loaded, Money, Stat, Table } from "../../parts/basic";
import { HistoryChart } from "../../parts/chart";
import { NodePage, Unpaid } from "../../parts/node";

const CURVES = [
  { series: "promised", label: "promised" },
  { series: "redeemed", label: "redeemed by providers" },
  { series: "deposited", label: "in channels" },
];

export function SpendingPage() {
  return (
    <NodePage kind="gateway" title="Spending">
      {(node) => (node.status !== null && node.money === null && node.wallet === null ? <Unpaid node={node} /> : <Paid node={node} />)}
    </NodePage>
  );
}

function Paid({ node }: { node: NodeSample }) {
  const spending = useSpending(node.name);
  return (
    <>
      <Loaded query={spending}>{(found) => <Sums found={found} />}</Loaded>
      <HistoryChart node={node.name} title="Credits over time" unit="credits" curves={CURVES} />
      <PerBucket node={node.name} />
      <Loaded query={spending}>{(found) => <Months found={found} node={node.name} />}</Loaded>
      <TopUp node={node.name} />
    </>
  );
}

function Sums({ found: { now } }: { found: Spending }) {
  return (
    <div className="cards">
      <Stat label="Owed and not promised" value={<span id="potential"><Money of={now.potential} /></span>} more="by our own meter, since the last audit" />
      <Stat label="Promised" value={<span id="promised"><Money of={now.promised} /></span>} more="by vouchers, not redeemed yet" />
      <Stat label="Redeemed" value={<span id="redeemed"><Money of={now.redeemed} /></span>} more="by providers so far" />
      <Stat label="In channels" value={<span id="deposited"><Money of={now.deposited} /></span>} more="deposited and not promised" />
      <Stat label="Budget left this month" value={now.month_left === null ? "no limit" : <Money of={now.month_left} />} more={<><Money of={now.month_deposited} /> went into channels this month</>} />
    </div>
  );
}

function PerBucket({ node }: { node: string }) {
  const buckets = useBuckets(node).data?.buckets ?? [];
  const costs = useQueries({
    queries: buckets.map((bucket) => ({
      queryKey: [at(node, `/v1/buckets/${encodeURIComponent(bucket.name)}`)],
      queryFn: () => get<BucketCost>(at(node, `/v1/buckets/${encodeURIComponent(bucket.name)}`)),
      refetchInterval: 15_000,
    })),
  });
  const rows = costs.map((cost) => cost.data).filter((cost) => cost !== undefined);
  const month = (cost: BucketCost) => ("month" in cost.estimate ? cost.estimate.month : null);
  return (
    <Card title="By bucket, at the cheapest offers known now">
      {rows.length === 0 ? <Empty title="There is no bucket yet" /> : (
        <Table
          label="Cost by bucket"
          rows={rows}
          keyOf={(cost) => cost.name}
          columns={[
            { head: "Bucket", cell: (cost) => cost.name },
            { head: "Objects", numeric: true, cell: (cost) => count(cost.objects) },
            { head: "Stored", numeric: true, cell: (cost) => bytes(cost.len) },
            { head: "A day", numeric: true, cell: (cost) => <Money of={month(cost) === null ? null : (BigInt(month(cost) ?? "0") / 30n).toString()} /> },
            { head: "A month", numeric: true, cell: (cost) => <Money of={month(cost)} /> },
            { head: "Budget a month", numeric: true, cell: (cost) => (cost.month_max === null ? "none" : <Money of={cost.month_max} />) },
            { head: "", cell: (cost) => ("error" in cost.estimate ? <span className="small">{cost.estimate.error}</span> : "") },
          ]}
        />
      )}
    </Card>
  );
}

function Months({ found, node }: { found: Spending; node: string }) {
  const rows = () => [["month_begins", "promised_base_units"], ...found.months.map((month) => [utc(month.start), month.promised])];
  return (
    <Card title="Promised, by month of 30 days" more={<button type="button" onClick={() => save(`${node}-months.csv`, csv(rows()))}>CSV</button>}>
      {found.months.length === 0 ? <p className="soft">Nothing yet.</p> : (
        <Table
          label="Promised by month"
          rows={found.months}
          keyOf={(month) => month.start}
          columns={[
            { head: "From", cell: (month) => utc(month.start) },
            { head: "Promised", numeric: true, cell: (month) => <Money of={month.promised} /> },
          ]}
        />
      )}
    </Card>
  );
}

function TopUp({ node }: { node: string }) {
  const wallet = useWallet(node);
  const queries = useQueryClient();
  return (
    <Card title="Wallet and top up">
      <Loaded query={wallet}>
        {(found) => (
          <>
            <dl>
              <dt>Credits</dt><dd><span id="credits"><Money of={found.credits} /></span></dd>
              <dt>Address</dt><dd className="row"><code>{found.address}</code><Copy text={found.address} label="Copy" /></dd>
              <dt>Token</dt><dd><code>{found.token}</code> on chain {found.chain_id}</dd>
              <dt>Ledger</dt><dd>{found.read_only ? (found.pause ?? "takes no transactions") : "in step"}{found.followed_block !== null && `, block ${found.followed_block}`}, {found.open_commands} transactions under way</dd>
              {found.trouble !== null && <><dt>Trouble</dt><dd>{found.trouble}</dd></>}
            </dl>
            {found.faucet === null ? (
              <p className="small">Send credits to this address; channels take from it what they need, within the budget.</p>
            ) : (
              <Act label="Ask the faucet of this private ledger" act={() => call("POST", at(node, "/v1/wallet/faucet"), {}).then(() => queries.invalidateQueries())} />
            )}
          </>
        )}
      </Loaded>
    </Card>
  );
}
