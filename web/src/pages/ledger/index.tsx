// The journal of a node's credits in double entry, with filters, running balances and CSV.
import { useState } from "react";
import { useQuery } from "@tanstack/react-query";
import { at, get, query } from "../../api/client";
import { useNodes } from "../../api/live";
import type { Account, Journal } from "../../api/types";
import { creditsExact, shortId, utc } from "../../lib/format";
import { csv, save } from "../../lib/csv";
import { Card, Empty, Loaded, Table, Title } from "../../parts/basic";
import { NodeChoice } from "../../parts/node";

const PAGE = 1000;
const SHOWN = 200;

interface Row { key: string; number: number; at: number; memo: string; account: string; side: "debit" | "credit"; amount: string; balance: string }

/** An account in words, as the command line has it. */
function place(account: Account): string {
  return typeof account === "string" ? account.toLowerCase() : Object.entries(account).map(([name, of]) => `${name.toLowerCase()} ${of}`).join(" ");
}

function Place({ account }: { account: string }) {
  const [kind = "", of] = account.split(" ");
  return <span title={account}>{kind} {of !== undefined && <code>{shortId(of)}</code>}</span>;
}

function signed(balance: bigint): string {
  return balance < 0n ? `-${creditsExact((-balance).toString())}` : creditsExact(balance.toString());
}

/** Reads the whole journal: balances run from its opening on. */
async function read(node: string, signal: AbortSignal): Promise<{ rows: Row[]; opened: number }> {
  const balances = new Map<string, bigint>();
  const rows: Row[] = [];
  let from = 0;
  let opened = 0;
  for (;;) {
    const page: Journal = await get<Journal>(at(node, `/v1/journal${query({ from, max: PAGE })}`), signal);
    if (from === 0) {
      opened = page.opening.first;
      for (const of of page.opening.accounts) balances.set(place(of.account), BigInt(of.debits) - BigInt(of.credits));
    }
    for (const entry of page.entries) {
      entry.lines.forEach((line, index) => {
        const side = "Debit" in line ? "debit" : "credit";
        const [account, amount] = "Debit" in line ? line.Debit : line.Credit;
        const name = place(account);
        const balance = (balances.get(name) ?? 0n) + (side === "debit" ? BigInt(amount) : -BigInt(amount));
        balances.set(name, balance);
        rows.push({ key: `${entry.number}/${index}`, number: entry.number, at: entry.at, memo: entry.memo, account: name, side, amount, balance: signed(balance) });
      });
    }
    const last = page.entries.at(-1);
    if (last === undefined || page.entries.length < PAGE) return { rows, opened };
    from = last.number + 1;
  }
}

export function LedgerPage() {
  const nodes = useNodes("gateway", "provider").filter((node) => node.money !== null);
  const [chosen, setChosen] = useState("");
  const node = nodes.find((one) => one.name === chosen) ?? nodes[0];
  return (
    <>
      <Title
        more={node !== undefined && <NodeChoice nodes={nodes} chosen={node.name} onChoose={setChosen} />}
      >
        Ledger
      </Title>
      {node === undefined ? <Empty title="No node of this dashboard has a ledger"><p>Start a provider or gateway with <code>--chain URL</code> to be paid, or to pay.</p></Empty> : <Entries key={node.name} node={node.name} />}
    </>
  );
}

function Entries({ node }: { node: string }) {
  const [account, setAccount] = useState("");
  const [memo, setMemo] = useState("");
  const [max, setMax] = useState(SHOWN);
  const journal = useQuery({ queryKey: [at(node, "/v1/journal")], queryFn: ({ signal }) => read(node, signal), refetchInterval: 10_000 });
  return (
    <Card title="Journal">
      <Loaded query={journal}>
        {({ rows, opened }) => {
          const kinds = [...new Set(rows.map((row) => row.account.split(" ")[0] ?? ""))].sort();
          const found = rows.filter((row) => (account === "" || row.account.split(" ")[0] === account) && row.memo.toLowerCase().includes(memo.toLowerCase()));
          const latest = [...found].reverse();
          const table = () => [
            ["number", "at", "memo", "account", "debit", "credit", "balance"],
            ...found.map((row) => [row.number, utc(row.at), row.memo, row.account, row.side === "debit" ? creditsExact(row.amount) : "", row.side === "credit" ? creditsExact(row.amount) : "", row.balance]),
          ];
          return (
            <>
              <div className="row">
                <div>
                  <label htmlFor="account">Account</label>
                  <select id="account" value={account} onChange={(event) => setAccount(event.target.value)}>
                    <option value="">all</option>
                    {kinds.map((kind) => <option key={kind}>{kind}</option>)}
                  </select>
                </div>
                <div><label htmlFor="memo">Memo has</label><input id="memo" value={memo} onChange={(event) => setMemo(event.target.value)} /></div>
                <button type="button" onClick={() => save(`${node}-journal.csv`, csv(table()))}>CSV</button>
              </div>
              {opened > 0 && <p className="small soft">Entries before {opened} were rolled up into opening balances.</p>}
              {rows.length === 0 ? <Empty title="No credit has moved yet" /> : (
                <Table
                  label="Journal"
                  rows={latest.slice(0, max)}
                  keyOf={(row) => row.key}
                  columns={[
                    { head: "No", numeric: true, cell: (row) => row.number },
                    { head: "When", cell: (row) => <time className="small">{utc(row.at)}</time> },
                    { head: "What for", cell: (row) => row.memo },
                    { head: "Account", cell: (row) => <Place account={row.account} /> },
                    { head: "Debit", numeric: true, cell: (row) => (row.side === "debit" ? creditsExact(row.amount) : "") },
                    { head: "Credit", numeric: true, cell: (row) => (row.side === "credit" ? creditsExact(row.amount) : "") },
                    { head: "Balance", numeric: true, cell: (row) => row.balance },
                  ]}
                />
              )}
              {latest.length > max && <button type="button" onClick={() => setMax(max + 5 * SHOWN)}>Show more of {latest.length}</button>}
            </>
          );
        }}
      </Loaded>
    </Card>
  );
}
