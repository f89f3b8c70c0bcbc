// Disputes before the ledger's court, as a gateway that brought them or a provider that has to answer sees them.
import { useDisputes } from "../api/queries";
import type { Dispute } from "../api/types";
import { Badge, Id, Loaded, Money, Table, When } from "./basic";

export function Disputes({ node }: { node: string }) {
  const disputes = useDisputes(node);
  return (
    <Loaded query={disputes}>
      {({ disputes: all }) => all.length === 0 ? <p className="soft">None.</p> : (
        <Table
          label="Disputes"
          rows={all}
          keyOf={(dispute) => dispute.dispute}
          columns={[
            { head: "Dispute", cell: (dispute) => <Id of={dispute.dispute} /> },
            { head: "State", cell: (dispute) => <Badge kind={dispute.open ? "warn" : stateKind(dispute)}>{dispute.state}</Badge> },
            { head: "Provider", cell: (dispute) => <Id of={dispute.provider ?? dispute.provider_wallet} /> },
            { head: "At risk", numeric: true, cell: (dispute) => <Money of={dispute.at_risk} /> },
            { head: "Answer due", cell: (dispute) => <When at={dispute.deadline_s == null ? null : dispute.deadline_s * 1000} /> },
            { head: "What came of it", cell: (dispute) => <span className="small">{dispute.reason ?? ""}</span> },
          ]}
        />
      )}
    </Loaded>
  );
}

const stateKind = (dispute: Dispute) => (dispute.state === "upheld" ? "bad" : "good");
