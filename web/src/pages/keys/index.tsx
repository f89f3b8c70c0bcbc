// S3 access keys: made with what they open and until when, listed, revoked.
import { useState, type FormEvent } from "react";
import { useQueryClient } from "@tanstack/react-query";
import { at, call } from "../../api/client";
import { useBuckets, useKeys } from "../../api/queries";
import type { AccessKey, NewKey, NodeSample } from "../../api/types";
import { Act, Badge, Card, Copy, Dialog, Empty, ErrorNote, Loaded, Table, When } from "../../parts/basic";
import { NodePage } from "../../parts/node";

const LIFE: [string, number | null][] = [["never", null], ["in an hour", 3_600_000], ["in a day", 86_400_000], ["in a week", 7 * 86_400_000], ["in 30 days", 30 * 86_400_000], ["in a year", 365 * 86_400_000]];

export function Keys() {
  const [making, setMaking] = useState(false);
  return (
    <NodePage kind="gateway" title="Keys" more={() => <button type="button" className="main" onClick={() => setMaking(true)}>Make a key</button>}>
      {(node) => (
        <>
          <Listed node={node.name} />
          {making && <Wizard node={node} onClose={() => setMaking(false)} />}
        </>
      )}
    </NodePage>
  );
}

function opens(key: AccessKey): string {
  const where = key.bucket === "" ? "every bucket" : `${key.bucket}/${key.prefix}`;
  return `${where}, ${key.read_only ? "reading only" : "reading and writing"}`;
}

function Listed({ node }: { node: string }) {
  const keys = useKeys(node);
  const queries = useQueryClient();
  const [all, setAll] = useState(false);
  const revoke = (key: AccessKey) => call("DELETE", at(node, `/v1/keys/${encodeURIComponent(key.access_key)}`)).then(() => queries.invalidateQueries());
  const over = (key: AccessKey) => key.revoked || (key.expires !== null && key.expires <= Date.now());
  return (
    <Card title="Access keys" more={<label className="check"><input type="checkbox" checked={all} onChange={(event) => setAll(event.target.checked)} />Those that open nothing any more too</label>}>
      <Loaded query={keys}>
        {({ keys: found }) => {
          const shown = found.filter((key) => all || !over(key)).sort((one, other) => other.created - one.created);
          return shown.length === 0 ? (
            <Empty title="There is no key"><p>S3 tools such as aws, rclone and restic sign their requests with one.</p></Empty>
          ) : (
            <Table
              label="Access keys"
              rows={shown}
              keyOf={(key) => key.access_key}
              columns={[
                { head: "Access key", cell: (key) => <code>{key.access_key}</code> },
                { head: "Label", cell: (key) => key.label || "–" },
                { head: "User", cell: (key) => key.user || "the account" },
                { head: "Opens", cell: opens },
                { head: "Made", cell: (key) => <When at={key.created} /> },
                { head: "Expires", cell: (key) => (key.expires === null ? "never" : <When at={key.expires} />) },
                { head: "", cell: (key) => (key.revoked ? <Badge>revoked</Badge> : over(key) ? <Badge>expired</Badge> : <Act label="Revoke" danger act={() => revoke(key)} ask={`Revoke ${key.access_key}? Who uses it is refused at once.`} />) },
              ]}
            />
          );
        }}
      </Loaded>
    </Card>
  );
}

function Wizard({ node, onClose }: { node: NodeSample; onClose: () => void }) {
  const buckets = useBuckets(node.name).data?.buckets ?? [];
  const queries = useQueryClient();
  const [form, setForm] = useState({ label: "", user: "", bucket: "", prefix: "", read_only: false, life: 0 });
  const [made, setMade] = useState<NewKey | null>(null);
  const [error, setError] = useState<unknown>(null);
  const set = (fields: Partial<typeof form>) => setForm((before) => ({ ...before, ...fields }));
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const life = LIFE[form.life]?.[1] ?? null;
    const scope = {
      user: form.user, bucket: form.bucket, prefix: form.bucket === "" ? "" : form.prefix, read_only: form.read_only,
      expires: life === null ? null : Date.now() + life,
    };
    call<NewKey>("POST", at(node.name, "/v1/keys"), { label: form.label, scope }).then((key) => {
      setMade(key);
      void queries.invalidateQueries();
    }, setError);
  };
  if (made !== null) return <Made made={made} node={node} onClose={onClose} />;
  return (
    <Dialog title="Make an access key" onClose={onClose}>
      <form onSubmit={submit}>
        <div className="field"><label htmlFor="label">Label</label><input id="label" value={form.label} onChange={(event) => set({ label: event.target.value })} placeholder="laptop backup" /></div>
        <div className="field"><label htmlFor="user">User</label><input id="user" value={form.user} onChange={(event) => set({ user: event.target.value })} aria-describedby="user-hint" /><div className="hint" id="user-hint">A user has buckets of their own. Empty: the account itself.</div></div>
        <div className="field">
          <label htmlFor="bucket">Bucket</label>
          <select id="bucket" value={form.bucket} onChange={(event) => set({ bucket: event.target.value })}>
            <option value="">every bucket</option>
            {buckets.map((bucket) => <option key={bucket.name}>{bucket.name}</option>)}
          </select>
        </div>
        {form.bucket !== "" && <div className="field"><label htmlFor="prefix">Only keys that begin with</label><input id="prefix" value={form.prefix} onChange={(event) => set({ prefix: event.target.value })} /></div>}
        <div className="field"><label className="check"><input type="checkbox" checked={form.read_only} onChange={(event) => set({ read_only: event.target.checked })} />Reading only</label></div>
        <div className="field"><label htmlFor="life">Expires</label><select id="life" value={form.life} onChange={(event) => set({ life: Number(event.target.value) })}>{LIFE.map(([name], index) => <option key={name} value={index}>{name}</option>)}</select></div>
        <ErrorNote error={error} />
        <button type="submit" className="main">Make it</button>
      </form>
    </Dialog>
  );
}

function Made({ made, node, onClose }: { made: NewKey; node: NodeSample; onClose: () => void }) {
  const s3 = node.status?.s3;
  const paste = `export AWS_ACCESS_KEY_ID=${made.access_key}\nexport AWS_SECRET_ACCESS_KEY=${made.secret_key}\nexport AWS_DEFAULT_REGION=${s3?.region ?? "us-east-1"}\nexport AWS_ENDPOINT_URL=${s3?.endpoint ?? ""}\naws s3 ls`;
  return (
    <Dialog title="Your new key" onClose={onClose}>
      <div className="note warn">The secret is shown this once. Copy it now.</div>
      <dl>
        <dt>Access key</dt><dd className="row"><code id="access-key">{made.access_key}</code><Copy text={made.access_key} label="Copy" /></dd>
        <dt>Secret key</dt><dd className="row"><code id="secret-key">{made.secret_key}</code><Copy text={made.secret_key} label="Copy" /></dd>
        <dt>Endpoint</dt><dd><code>{s3?.endpoint}</code></dd>
      </dl>
      <h3>Paste this into a shell</h3>
      <pre tabIndex={0}>{paste}</pre>
      <Copy text={paste} label="Copy all of it" />
    </Dialog>
  );
}
