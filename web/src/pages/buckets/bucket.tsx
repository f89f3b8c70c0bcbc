// One bucket: its objects as folders, files dropped on it, and its settings.
import { useState, type FormEvent } from "react";
import { Link, useNavigate, useParams, useSearch } from "@tanstack/react-router";
import { useQueryClient } from "@tanstack/react-query";
import { at, call, query } from "../../api/client";
import { useBucketCost, useListing } from "../../api/queries";
import type { Listed } from "../../api/types";
import { baseUnitsOf, bytes, count } from "../../lib/format";
import { Act, Card, Empty, ErrorNote, Loaded, Money, Stat, Table, When } from "../../parts/basic";
import { NodePage } from "../../parts/node";
import { ObjectDialog } from "./object";
import { Uploads } from "./uploads";

const PAGE = 200;

export function BucketPage() {
  const { bucket } = useParams({ strict: false }) as { bucket: string };
  return (
    <NodePage kind="gateway" title={bucket}>
      {(node) => (
        <>
          <p><Link to="/buckets" search={{ node: node.name }}>All buckets</Link></p>
          <Inside node={node.name} bucket={bucket} />
          <BucketSettings node={node.name} bucket={bucket} />
        </>
      )}
    </NodePage>
  );
}

function Folders({ node, bucket, prefix }: { node: string; bucket: string; prefix: string }) {
  const parts = prefix.split("/").slice(0, -1);
  return (
    <nav aria-label="Folders" className="row">
      <Link to="/buckets/$bucket" params={{ bucket }} search={{ node }}>{bucket}</Link>
      {parts.map((part, index) => {
        const upTo = `${parts.slice(0, index + 1).join("/")}/`;
        return <span key={upTo}>/ <Link to="/buckets/$bucket" params={{ bucket }} search={{ node, prefix: upTo }}>{part === "" ? "(no name)" : part}</Link></span>;
      })}
    </nav>
  );
}

type Row = { folder: string } | { object: Listed };

function Inside({ node, bucket }: { node: string; bucket: string }) {
  const { prefix = "" }: { prefix?: string } = useSearch({ strict: false });
  const [cursors, setCursors] = useState<string[]>([]);
  const [shown, setShown] = useState<string | null>(null);
  const cursor = cursors.at(-1) ?? "";
  const listing = useListing(node, bucket, prefix, cursor, PAGE);
  const queries = useQueryClient();
  const refresh = () => queries.invalidateQueries();
  const remove = (key: string) => call("DELETE", at(node, `/v1/object${query({ bucket, key })}`)).then(refresh);
  const name = (key: string) => key.slice(prefix.length) || key;
  return (
    <>
      <Uploads node={node} bucket={bucket} prefix={prefix} onDone={() => void refresh()} />
      <Card title="Objects">
        <Folders node={node} bucket={bucket} prefix={prefix} />
        <Loaded query={listing}>
          {(page) => {
            const rows: Row[] = [...page.prefixes.map((folder) => ({ folder })), ...page.objects.map((object) => ({ object }))];
            return rows.length === 0 ? (
              <Empty title="Nothing is here yet"><p>Drop files above, or: <code>cairn put FILE {bucket}/{prefix}</code></p></Empty>
            ) : (
              <Table
                label="Objects"
                rows={rows}
                keyOf={(row) => ("folder" in row ? row.folder : row.object.key)}
                columns={[
                  {
                    head: "Name",
                    cell: (row) =>
                      "folder" in row ? (
                        <Link to="/buckets/$bucket" params={{ bucket }} search={{ node, prefix: row.folder }} onClick={() => setCursors([])}>{name(row.folder)}</Link>
                      ) : (
                        <button type="button" className="plain" onClick={() => setShown(row.object.key)}>{name(row.object.key)}</button>
                      ),
                  },
                  { head: "Length", numeric: true, cell: (row) => ("folder" in row ? "" : bytes(row.object.len)) },
                  { head: "Modified", cell: (row) => ("folder" in row ? "" : <When at={row.object.modified_ms} />) },
                  {
                    head: "",
                    cell: (row) =>
                      "folder" in row ? "" : (
                        <div className="row">
                          <a className="button" href={at(node, `/v1/object${query({ bucket, key: row.object.key })}`)} download={name(row.object.key).split("/").at(-1)}>Download</a>
                          <Act label="Delete" danger act={() => remove(row.object.key)} ask={`Delete ${row.object.key}?`} />
                        </div>
                      ),
                  },
                ]}
              />
            );
          }}
        </Loaded>
        <div className="row">
          {cursors.length > 0 && <button type="button" onClick={() => setCursors(cursors.slice(0, -1))}>Back</button>}
          {listing.data?.next != null && <button type="button" onClick={() => setCursors([...cursors, listing.data?.next ?? ""])}>Next {PAGE}</button>}
        </div>
      </Card>
      {shown !== null && <ObjectDialog key={shown} node={node} bucket={bucket} objectKey={shown} onClose={() => setShown(null)} />}
    </>
  );
}

function BucketSettings({ node, bucket }: { node: string; bucket: string }) {
  const cost = useBucketCost(node, bucket);
  const navigate = useNavigate();
  const queries = useQueryClient();
  const remove = () =>
    call("DELETE", at(node, `/v1/buckets/${encodeURIComponent(bucket)}`)).then(() => {
      void navigate({ to: "/buckets", search: { node } });
      return queries.invalidateQueries();
    });
  return (
    <>
      <h2>Bucket</h2>
      <Loaded query={cost}>
        {(found) => (
          <div className="cards">
            <Stat label="Holds" value={bytes(found.len)} more={`${count(found.objects)} objects`} />
            {"month" in found.estimate ? (
              <>
                <Stat label="Costs" value={<Money of={found.estimate.month} />} more="a month, at the cheapest offers known now" />
                <Stat label="Redundancy" value={found.estimate.redundancy} more={`${bytes(found.estimate.stored_len)} at ${found.estimate.providers} providers`} />
              </>
            ) : (
              <Stat label="Costs" value="–" more={found.estimate.error} />
            )}
            <Stat label="Budget" value={found.month_max === null ? "none" : <Money of={found.month_max} />} more="a month" />
          </div>
        )}
      </Loaded>
      <Card title="Settings">
        <Budget node={node} bucket={bucket} />
        <p className="small soft">Versions, lifecycle, CORS and policies are set with S3 tools: <code>aws s3api put-bucket-versioning</code>, <code>put-bucket-lifecycle-configuration</code> and so on.</p>
        <Act label="Delete this bucket" danger act={remove} ask={`Delete the bucket ${bucket}? It has to be empty.`} />
      </Card>
    </>
  );
}

function Budget({ node, bucket }: { node: string; bucket: string }) {
  const [text, setText] = useState("");
  const [error, setError] = useState<unknown>(null);
  const queries = useQueryClient();
  const set = (month_max: string | null) =>
    call("PUT", at(node, `/v1/buckets/${encodeURIComponent(bucket)}/budget`), { month_max }).then(() => {
      setError(null);
      return queries.invalidateQueries();
    }, setError);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const base = baseUnitsOf(text);
    if (base !== null) void set(base);
  };
  return (
    <form className="row" onSubmit={submit}>
      <label htmlFor="budget">Most that its contents may cost in a month, in credits</label>
      <input id="budget" value={text} onChange={(event) => setText(event.target.value)} required pattern="\d{1,12}(\.\d{1,18})?" title="a number of credits, such as 12.5" inputMode="decimal" />
      <button type="submit">Set</button>
      <button type="button" onClick={() => void set(null)}>No limit</button>
      <ErrorNote error={error} />
    </form>
  );
}
