// One object: preview, what is known of it, its versions, where its shards are, and sharing it.
import { Fragment, useEffect, useState } from "react";
import { at, call, query } from "../../api/client";
import { usePlaces, useStat, useVersions } from "../../api/queries";
import type { Shared, Stat as Known } from "../../api/types";
import { bytes, shortId, utc } from "../../lib/format";
import { Act, Badge, Copy, Dialog, ErrorNote, Id, Loaded, Table, When } from "../../parts/basic";

const TEXT_LEN_MAX = 256 * 1024;
const SPANS: [string, number][] = [["an hour", 3600], ["a day", 86_400], ["a week", 604_800], ["10 seconds", 10]];
type Tab = "preview" | "about" | "versions" | "shards" | "share";
const TABS: [Tab, string][] = [["preview", "Preview"], ["about", "About"], ["versions", "Versions"], ["shards", "Shards"], ["share", "Share"]];

interface Which { node: string; bucket: string; objectKey: string }

export function ObjectDialog({ node, bucket, objectKey, onClose }: Which & { onClose: () => void }) {
  const [tab, setTab] = useState<Tab>("preview");
  const which = { node, bucket, objectKey };
  return (
    <Dialog title={objectKey} onClose={onClose}>
      <div className="row" role="tablist" aria-label="Views">
        {TABS.map(([name, label]) => (
          <button key={name} type="button" role="tab" aria-selected={tab === name} aria-controls="view" className={tab === name ? "on" : ""} onClick={() => setTab(name)}>{label}</button>
        ))}
      </div>
      <div id="view" role="tabpanel" aria-label={tab}>
        {tab === "preview" && <Preview {...which} />}
        {tab === "about" && <About {...which} />}
        {tab === "versions" && <Versions {...which} />}
        {tab === "shards" && <Shards {...which} />}
        {tab === "share" && <Share {...which} />}
      </div>
    </Dialog>
  );
}

const ENDINGS: Record<string, string> = { png: "image", jpg: "image", jpeg: "image", gif: "image", webp: "image", avif: "image", svg: "image", mp4: "video", webm: "video", mov: "video", mp3: "audio", ogg: "audio", wav: "audio", flac: "audio", m4a: "audio" };

function kindOf(stat: Known): string {
  const type = stat.content_type ?? "";
  for (const kind of ["image", "audio", "video", "text"]) if (type.startsWith(`${kind}/`)) return kind;
  if (type === "application/json") return "text";
  // Without a type the server sends no preview; the name tells why not.
  return type === "" || type === "application/octet-stream" || type === "binary/octet-stream" ? `untyped ${ENDINGS[stat.key.split(".").at(-1)?.toLowerCase() ?? ""] ?? ""}` : "";
}

function Preview({ node, bucket, objectKey }: Which) {
  const stat = useStat(node, bucket, objectKey);
  const source = at(node, `/v1/object${query({ bucket, key: objectKey })}&preview`);
  return (
    <Loaded query={stat}>
      {(known) => {
        switch (kindOf(known)) {
          case "image": return <img className="preview" src={source} alt={objectKey} />;
          case "audio": return <audio className="preview" src={source} controls preload="metadata" aria-label={objectKey} />;
          case "video": return <video className="preview" src={source} controls preload="metadata" aria-label={objectKey} />;
          case "text": return <Text source={source} len={known.len} />;
          default: return <p className="soft">There is no preview for {known.content_type ?? "an object without a content type"}. Download it to look at it.</p>;
        }
      }}
    </Loaded>
  );
}

function Text({ source, len }: { source: string; len: number }) {
  const [text, setText] = useState<string | null>(null);
  const [error, setError] = useState<unknown>(null);
  useEffect(() => {
    const stop = new AbortController();
    const headers: Record<string, string> = len > TEXT_LEN_MAX ? { range: `bytes=0-${TEXT_LEN_MAX - 1}` } : {};
    fetch(source, { headers, signal: stop.signal }).then((answer) => answer.text()).then(setText, (failed: unknown) => stop.signal.aborted || setError(failed));
    return () => stop.abort();
  }, [source, len]);
  return (
    <>
      <ErrorNote error={error} />
      {text === null ? <p role="status">Loading…</p> : <pre tabIndex={0}>{text}</pre>}
      {len > TEXT_LEN_MAX && <p className="small soft">The first {bytes(TEXT_LEN_MAX)} of {bytes(len)}.</p>}
    </>
  );
}

function About({ node, bucket, objectKey }: Which) {
  const stat = useStat(node, bucket, objectKey);
  return (
    <Loaded query={stat}>
      {(known) => (
        <dl>
          <dt>Length</dt><dd>{bytes(known.len)} ({known.len} bytes)</dd>
          <dt>Modified</dt><dd>{utc(known.modified_ms)}</dd>
          <dt>Content type</dt><dd>{known.content_type ?? "–"}</dd>
          <dt>ETag</dt><dd><code>{known.etag}</code></dd>
          <dt>Version</dt><dd><code>{known.version}</code></dd>
          <dt>Storage class</dt><dd>{known.storage_class}</dd>
          {known.parts > 0 && <><dt>Parts</dt><dd>{known.parts}</dd></>}
          {Object.entries(known.user).map(([name, value]) => <Fragment key={name}><dt>{name}</dt><dd>{value}</dd></Fragment>)}
          {Object.entries(known.tags).map(([name, value]) => <Fragment key={name}><dt>tag {name}</dt><dd>{value}</dd></Fragment>)}
        </dl>
      )}
    </Loaded>
  );
}

function Versions({ node, bucket, objectKey }: Which) {
  const versions = useVersions(node, bucket, objectKey);
  return (
    <Loaded query={versions}>
      {({ versions: all }) => (
        <Table
          label="Versions"
          rows={all}
          keyOf={(version) => version.version}
          columns={[
            { head: "Version", cell: (version) => <Id of={version.version} /> },
            { head: "", cell: (version) => <>{version.latest && <Badge kind="good">latest</Badge>} {version.delete_marker && <Badge kind="warn">delete marker</Badge>}</> },
            { head: "Modified", cell: (version) => <When at={version.modified_ms} /> },
            { head: "Length", numeric: true, cell: (version) => (version.delete_marker ? "" : bytes(version.len)) },
            { head: "", cell: (version) => !version.delete_marker && <a className="button" href={at(node, `/v1/object${query({ bucket, key: objectKey, version: version.version })}`)} download={objectKey.split("/").at(-1)}>Download</a> },
          ]}
        />
      )}
    </Loaded>
  );
}

function Shards({ node, bucket, objectKey }: Which) {
  const places = usePlaces(node, bucket, objectKey);
  return (
    <Loaded query={places}>
      {({ segments }) => (
        <>
          <p className="small">Each segment can be read as long as the shards that it needs are there; the others are spare.</p>
          {segments.map((segment) => (
            <div key={`${segment.blob}/${segment.segment}`} className="card">
              <div className="row between">
                <strong>Segment {segment.segment + 1} of blob <code>{shortId(segment.blob)}</code></strong>
                <Badge kind={segment.live < segment.needed ? "bad" : segment.live < segment.total ? "warn" : "good"}>{segment.live} of {segment.total} there, {segment.needed} needed</Badge>
              </div>
              <div className="row">
                {segment.shards.map((shard) => <Badge key={shard.index} kind={shard.live ? "good" : "bad"}>{shard.index + 1}: {shortId(shard.provider)}</Badge>)}
              </div>
            </div>
          ))}
        </>
      )}
    </Loaded>
  );
}

function Share({ node, bucket, objectKey }: Which) {
  const [seconds, setSeconds] = useState(86_400);
  const [shared, setShared] = useState<Shared | null>(null);
  const make = () => call<Shared>("POST", at(node, "/v1/share"), { bucket, key: objectKey, expires_s: seconds }).then(setShared);
  return (
    <>
      <p className="small">A link that opens this object, and nothing else, to whoever has it and can reach the S3 endpoint. It rests on a key of its own: revoke that key to end it early.</p>
      <div className="row">
        <label htmlFor="span">Good for</label>
        <select id="span" value={seconds} onChange={(event) => setSeconds(Number(event.target.value))}>{SPANS.map(([name, value]) => <option key={value} value={value}>{name}</option>)}</select>
        <Act label="Make a link" main act={make} />
      </div>
      {shared !== null && (
        <div className="note good">
          <div><a id="shared" href={shared.url} target="_blank" rel="noreferrer noopener" className="mono">{shared.url}</a></div>
          <div className="row small"><Copy text={shared.url} label="Copy" /> until {utc(shared.expires_at_ms)}, key <code>{shared.access_key}</code></div>
        </div>
      )}
    </>
  );
}
