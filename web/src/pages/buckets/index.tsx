// The buckets of a gateway: what they hold and cost, and a new one.
import { useState, type FormEvent } from "react";
import { Link } from "@tanstack/react-router";
import { useQueryClient } from "@tanstack/react-query";
import { at, call } from "../../api/client";
import { useBucketCost, useBuckets } from "../../api/queries";
import { bytes, count } from "../../lib/format";
import { Badge, Card, Empty, ErrorNote, Loaded, Money, Table, When } from "../../parts/basic";
import { NodePage } from "../../parts/node";

export function Buckets() {
  return (
    <NodePage kind="gateway" title="Buckets">
      {(node) => (
        <>
          <NewBucket node={node.name} />
          <Listed node={node.name} />
        </>
      )}
    </NodePage>
  );
}

function NewBucket({ node }: { node: string }) {
  const [name, setName] = useState("");
  const [error, setError] = useState<unknown>(null);
  const queries = useQueryClient();
  const submit = (event: FormEvent) => {
    event.preventDefault();
    call("PUT", at(node, `/v1/buckets/${encodeURIComponent(name)}`)).then(
      () => {
        setName("");
        setError(null);
        void queries.invalidateQueries();
      },
      setError,
    );
  };
  return (
    <Card>
      <form className="row" onSubmit={submit}>
        <label htmlFor="bucket">New bucket</label>
        <input id="bucket" value={name} onChange={(event) => setName(event.target.value)} required pattern="[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]" title="3 to 63 lower-case letters, digits, dots and hyphens" />
        <button type="submit" className="main">Make it</button>
      </form>
      <ErrorNote error={error} />
    </Card>
  );
}

function Listed({ node }: { node: string }) {
  const buckets = useBuckets(node);
  return (
    <Card title="Buckets">
      <Loaded query={buckets}>
        {({ buckets: all }) => all.length === 0 ? (
          <Empty title="There is no bucket yet"><p>Make one above; then drop files on its page, or use any S3 tool.</p></Empty>
        ) : (
          <Table
            label="Buckets"
            rows={all}
            keyOf={(bucket) => bucket.name}
            columns={[
              { head: "Bucket", cell: (bucket) => <Link to="/buckets/$bucket" params={{ bucket: bucket.name }} search={{ node }}>{bucket.name}</Link> },
              { head: "Owner", cell: (bucket) => bucket.owner },
              { head: "Made", cell: (bucket) => <When at={bucket.created} /> },
              { head: "Objects", numeric: true, cell: (bucket) => <Cost node={node} bucket={bucket.name} of="objects" /> },
              { head: "Holds", numeric: true, cell: (bucket) => <Cost node={node} bucket={bucket.name} of="len" /> },
              { head: "A month", numeric: true, cell: (bucket) => <Cost node={node} bucket={bucket.name} of="month" /> },
              { head: "", cell: (bucket) => <>{bucket.versioning !== "Off" && <Badge>versions {bucket.versioning.toLowerCase()}</Badge>} {bucket.lockable && <Badge>lock</Badge>}</> },
            ]}
          />
        )}
      </Loaded>
    </Card>
  );
}

function Cost({ node, bucket, of }: { node: string; bucket: string; of: "objects" | "len" | "month" }) {
  const cost = useBucketCost(node, bucket).data;
  if (of === "month") return <Money of={cost !== undefined && "month" in cost.estimate ? cost.estimate.month : null} />;
  return of === "len" ? bytes(cost?.len) : count(cost?.objects);
}
