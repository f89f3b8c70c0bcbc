// Audits: the timeline, and the reason for every one that was not passed, down to the leaf.
import { useState } from "react";
import { useQueryClient } from "@tanstack/react-query";
import { at, call } from "../../api/client";
import { useAudits } from "../../api/queries";
import type { Audit } from "../../api/types";
import { utc } from "../../lib/format";
import { csv, save } from "../../lib/csv";
import { Act, Badge, Card, Dialog, Empty, Id, Loaded, Money, Table, When } from "../../parts/basic";
import { Disputes } from "../../parts/disputes";
import { NodePage, Unpaid } from "../../parts/node";

export function Audits() {
  return (
    <NodePage kind="gateway" title="Audits">
      {(node) => (node.status !== null && node.money === null && node.wallet === null ? <Unpaid node={node} /> : <Timeline node={node.name} />)}
    </NodePage>
  );
}

const kindOf = (grade: string) => (grade === "passed" ? "good" : grade === "late" || grade === "refused" ? "warn" : "bad");

function Timeline({ node }: { node: string }) {
  const [failed, setFailed] = useState(false);
  const [max, setMax] = useState(100);
  const [shown, setShown] = useState<Audit | null>(null);
  const audits = useAudits(node, failed, max);
  const queries = useQueryClient();
  const rows = (all: Audit[]) => [
    ["at", "provider", "grade", "probes", "held", "failed", "reason"],
    ...all.map((audit) => [utc(audit.at), audit.provider, audit.grade, audit.probes, audit.held, audit.failed, audit.reason]),
  ];
  return (
    <>
      <Card>
        <div className="row">
          <label className="check"><input type="checkbox" checked={failed} onChange={(event) => setFailed(event.target.checked)} />Only those that were not passed</label>
          <Act label="Audit every provider now" act={() => call("POST", at(node, "/v1/audits"), {}).then(() => queries.invalidateQueries())} />
          {audits.data !== undefined && <button type="button" onClick={() => save(`${node}-audits.csv`, csv(rows(audits.data.audits)))}>CSV</button>}
        </div>
      </Card>
      <Card title="Timeline">
        <Loaded query={audits}>
          {({ audits: all }) => all.length === 0 ? (
            <Empty title={failed ? "Every audit was passed" : "No audit was made yet"}><p>Each provider with a paid deal is audited once in an epoch: it has to show random pieces of what it stores.</p></Empty>
          ) : (
            <>
              <Table
                label="Audits"
                rows={[...all].sort((one, other) => other.at - one.at)}
                keyOf={(audit) => audit.id}
                columns={[
                  { head: "When", cell: (audit) => <When at={audit.at} /> },
                  { head: "Provider", cell: (audit) => <Id of={audit.provider} /> },
                  { head: "Grade", cell: (audit) => <Badge kind={kindOf(audit.grade)}>{audit.grade}</Badge> },
                  { head: "Probes held", numeric: true, cell: (audit) => `${audit.held} of ${audit.probes}` },
                  { head: "Reason", cell: (audit) => <span className="small">{audit.reason}</span> },
                  { head: "Promised after it", numeric: true, cell: (audit) => <Money of={audit.promised} /> },
                  { head: "", cell: (audit) => <button type="button" className="plain" onClick={() => setShown(audit)}>Details</button> },
                ]}
              />
              {all.length >= max && <button type="button" onClick={() => setMax(max * 4)}>Show more</button>}
            </>
          )}
        </Loaded>
      </Card>
      <Card title="Disputes before the court">
        <Disputes node={node} />
      </Card>
      {shown !== null && <Details audit={shown} node={node} onClose={() => setShown(null)} />}
    </>
  );
}

function Details({ audit, node, onClose }: { audit: Audit; node: string; onClose: () => void }) {
  const evidence = () => save(`audit-${audit.id}.json`, JSON.stringify(audit, null, 2), "application/json");
  return (
    <Dialog title={`Audit ${audit.grade}`} onClose={onClose}>
      <dl>
        <dt>Provider</dt><dd><code>{audit.provider}</code></dd>
        <dt>Deal</dt><dd><code>{audit.deal}</code></dd>
        <dt>Began, ended</dt><dd>{utc(audit.at)}, {utc(audit.ended)}</dd>
        <dt>Probes</dt><dd>{audit.held} of {audit.probes} held, {audit.failed} are evidence</dd>
        <dt>Reason</dt><dd>{audit.reason || "–"}</dd>
        <dt>Commitment</dt><dd>{audit.committed ? "signed by the provider" : "none"}</dd>
      </dl>
      {audit.failures.length > 0 && (
        <Table
          label="Probes that failed"
          rows={audit.failures}
          keyOf={(failure) => `${failure.shard}/${failure.block}`}
          columns={[
            { head: "Shard", cell: (failure) => <Id of={failure.shard} /> },
            { head: "Block", numeric: true, cell: (failure) => failure.block },
            { head: "Leaf", numeric: true, cell: (failure) => failure.leaf },
            { head: "Reason", cell: (failure) => failure.reason },
          ]}
        />
      )}
      <div className="row">
        <button type="button" onClick={evidence}>Download as JSON</button>
        {audit.committed && audit.failed > 0 && (
          <Act label="Take it to the court" danger act={() => call("POST", at(node, "/v1/disputes"), { audit: audit.id }).then(onClose)} ask="A dispute costs a bond, which is lost if the provider answers. Go on?" />
        )}
      </div>
    </Dialog>
  );
}
