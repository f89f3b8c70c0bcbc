// Files dropped on a bucket: one line for each, with its progress; a file that broke off goes on when it is dropped again.
import { useRef, useState, type DragEvent } from "react";
import { ApiError } from "../../api/client";
import { upload } from "../../api/upload";
import { bytes } from "../../lib/format";
import { Badge } from "../../parts/basic";

interface Going { id: number; key: string; sent: number; total: number; state: "waiting" | "going" | "done" | "failed"; error: string; stop: AbortController; file: File }

const AT_ONCE = 2;

/** All files under what was dropped, folders too, with their paths. */
async function dropped(items: DataTransferItemList): Promise<{ path: string; file: File }[]> {
  const found: { path: string; file: File }[] = [];
  const walk = async (entry: FileSystemEntry): Promise<void> => {
    if (entry.isFile) {
      const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
      found.push({ path: entry.fullPath.replace(/^\//, ""), file });
      return;
    }
    const reader = (entry as FileSystemDirectoryEntry).createReader();
    for (;;) {
      const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
      if (some.length === 0) return;
      for (const inner of some) await walk(inner);
    }
  };
  const entries = [...items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  for (const entry of entries) await walk(entry);
  return found;
}

export function Uploads({ node, bucket, prefix, onDone }: { node: string; bucket: string; prefix: string; onDone: () => void }) {
  const [all, setAll] = useState<Going[]>([]);
  const [over, setOver] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  const waiting = useRef<Going[]>([]);
  const running = useRef(0);
  const next = useRef(0);
  const change = (id: number, fields: Partial<Going>) => setAll((before) => before.map((one) => (one.id === id ? { ...one, ...fields } : one)));

  const pump = () => {
    while (running.current < AT_ONCE) {
      const going = waiting.current.shift();
      if (going === undefined) return;
      running.current += 1;
      change(going.id, { state: "going" });
      upload({ node, bucket, key: going.key }, going.file, (sent, total) => change(going.id, { sent, total }), going.stop.signal)
        .then(
          () => change(going.id, { state: "done", sent: going.total }),
          (error: unknown) => change(going.id, { state: "failed", error: error instanceof ApiError ? `${error.message}. ${error.remedy}` : String(error) }),
        )
        .finally(() => {
          running.current -= 1;
          onDone();
          pump();
        });
    }
  };
  const add = (files: { path: string; file: File }[]) => {
    const fresh: Going[] = files.map(({ path, file }) => ({
      id: next.current++, key: `${prefix}${path}`, sent: 0, total: file.size, state: "waiting", error: "", stop: new AbortController(), file,
    }));
    setAll((before) => [...fresh, ...before].slice(0, 500));
    waiting.current.push(...fresh);
    pump();
  };
  const drop = (event: DragEvent) => {
    event.preventDefault();
    setOver(false);
    void dropped(event.dataTransfer.items).then(add);
  };
  return (
    <section aria-label="Upload">
      <div className={`drop ${over ? "over" : ""}`} onDragOver={(event) => { event.preventDefault(); setOver(true); }} onDragLeave={() => setOver(false)} onDrop={drop}>
        Drop files or folders here, or{" "}
        <button type="button" onClick={() => input.current?.click()}>choose files</button>
        <input
          ref={input} id="files" type="file" multiple hidden aria-label="Files to upload"
          onChange={(event) => {
            add([...(event.target.files ?? [])].map((file) => ({ path: file.name, file })));
            event.target.value = "";
          }}
        />
      </div>
      {all.map((one) => (
        <div key={one.id} className="card" data-upload={one.key} data-state={one.state}>
          <div className="row between">
            <code>{one.key}</code>
            <span className="small soft">{bytes(one.sent)} of {bytes(one.total)}</span>
            {one.state === "done" ? <Badge kind="good">stored</Badge> : one.state === "failed" ? <Badge kind="bad">failed</Badge> : <button type="button" onClick={() => one.stop.abort()}>Stop</button>}
          </div>
          {one.state !== "done" && <progress value={one.sent} max={Math.max(1, one.total)} aria-label={`Upload of ${one.key}`} />}
          {one.error !== "" && <div className="small" role="alert">{one.error}</div>}
        </div>
      ))}
    </section>
  );
}
