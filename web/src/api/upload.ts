// Uploads from a browser: small files at once, large ones in parts that are taken up again after a break, each with its progress.
import { ApiError, at, call, get, query, refusal, wordHeader } from "./client";

const PART_LEN_MIN = 16 * 1024 * 1024;
const PARTS_MAX = 10_000;
const AT_ONCE = 3;
const TRIES = 4;

interface Part { number: number; etag: string }
interface Target { node: string; bucket: string; key: string }
export type OnProgress = (sent: number, total: number) => void;

/** Length of the parts of a file: always the same for the same file, so that parts fit after a break. */
export function partLength(size: number): number {
  return Math.max(PART_LEN_MIN, Math.ceil(size / PARTS_MAX / 1024) * 1024);
}

/** Where an unfinished upload of this file is remembered. */
function memory(target: Target, file: File): string {
  return `cairn-upload:${JSON.stringify([target.node, target.bucket, target.key, file.size, file.lastModified])}`;
}

/** PUTs bytes; a browser tells the progress of XMLHttpRequest alone. */
function put<T>(path: string, body: Blob, type: string, onSent: (sent: number) => void, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    const end = (act: () => void) => {
      signal.removeEventListener("abort", abort);
      act();
    };
    request.open("PUT", path);
    for (const [name, value] of Object.entries(wordHeader())) request.setRequestHeader(name, value);
    if (type !== "") request.setRequestHeader("content-type", type);
    request.upload.onprogress = (event) => onSent(event.loaded);
    request.onload = () =>
      end(() => (request.status < 300 ? resolve(JSON.parse(request.responseText) as T) : reject(refusal(request.status, request.responseText))));
    request.onerror = () => end(() => reject(new ApiError(0, "Broken", "the connection broke off", "it goes on where it stopped when you drop the file again")));
    request.onabort = () => end(() => reject(new ApiError(0, "Stopped", "stopped", "it goes on where it stopped when you drop the file again")));
    signal.addEventListener("abort", abort);
    if (signal.aborted) request.abort();
    else request.send(body);
  });
}

async function patiently<T>(act: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await act();
    } catch (error) {
      const passing = error instanceof ApiError && (error.code === "Broken" || error.status >= 500);
      if (!passing || tries >= TRIES || signal.aborted) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500 * 2 ** tries));
    }
  }
}

/** Takes up an unfinished upload of the same file, or begins one. */
async function begin(target: Target, file: File): Promise<{ id: string; done: Map<number, string> }> {
  const { node, bucket, key } = target;
  const known = window.localStorage.getItem(memory(target, file));
  if (known !== null) {
    try {
      const done = new Map<number, string>();
      let after: number | null = 0;
      while (after !== null) {
        const page: { parts: Part[]; next: number | null } = await get(at(node, `/v1/uploads/${encodeURIComponent(known)}${query({ bucket, key, after })}`));
        for (const part of page.parts) done.set(part.number, part.etag);
        after = page.next;
      }
      return { id: known, done };
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error;
    }
  }
  const answer = await fetch(at(node, `/v1/uploads${query({ bucket, key })}`), {
    method: "POST",
    headers: { ...wordHeader(), ...(file.type === "" ? {} : { "content-type": file.type }) },
  });
  const text = await answer.text();
  if (!answer.ok) throw refusal(answer.status, text);
  const { upload_id: id } = JSON.parse(text) as { upload_id: string };
  window.localStorage.setItem(memory(target, file), id);
  return { id, done: new Map() };
}

async function inParts(target: Target, file: File, onProgress: OnProgress, signal: AbortSignal): Promise<void> {
  const { node, bucket, key } = target;
  const { id, done } = await begin(target, file);
  const length = partLength(file.size);
  const count = Math.ceil(file.size / length);
  const lengthOf = (number: number) => Math.min(length, file.size - (number - 1) * length);
  const sent = new Map<number, number>([...done.keys()].map((number) => [number, lengthOf(number)]));
  const tell = () => onProgress([...sent.values()].reduce((all, one) => all + one, 0), file.size);
  tell();
  const left = Array.from({ length: count }, (_, index) => index + 1).filter((number) => !done.has(number));
  const lane = async () => {
    for (let number = left.shift(); number !== undefined; number = left.shift()) {
      const part = number;
      const bytes = file.slice((part - 1) * length, (part - 1) * length + lengthOf(part));
      const path = at(node, `/v1/uploads/${encodeURIComponent(id)}/parts/${part}${query({ bucket, key })}`);
      const stored = await patiently(() => put<Part>(path, bytes, "", (loaded) => { sent.set(part, Math.min(loaded, bytes.size)); tell(); }, signal), signal);
      done.set(part, stored.etag);
      sent.set(part, bytes.size);
      tell();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  const parts = [...done].map(([number, etag]) => ({ number, etag })).sort((one, other) => one.number - other.number);
  await call("POST", at(node, `/v1/uploads/${encodeURIComponent(id)}/complete${query({ bucket, key })}`), { parts }, signal);
  window.localStorage.removeItem(memory(target, file));
}

/** Stores a file under a key. */
export async function upload(target: Target, file: File, onProgress: OnProgress, signal: AbortSignal): Promise<void> {
  if (file.size > PART_LEN_MIN) return inParts(target, file, onProgress, signal);
  const path = at(target.node, `/v1/object${query({ bucket: target.bucket, key: target.key })}`);
  await patiently(() => put(path, file, file.type, (sent) => onProgress(Math.min(sent, file.size), file.size), signal), signal);
  onProgress(file.size, file.size);
}
