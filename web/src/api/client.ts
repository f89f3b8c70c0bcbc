// Asks the front door. Every unsafe request repeats the session's word; every refusal becomes an ApiError with its remedy.

/** A refusal: `{"error":{"code","message","remedy"}}`. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly remedy: string,
  ) {
    super(message);
  }
}

let word = "";
let onLocked: () => void = () => {};

/** Takes up the word of the session that was opened. */
export function takeWord(csrf: string | null): void {
  word = csrf ?? "";
}

/** What happens when the session has ended. */
export function whenLocked(act: () => void): void {
  onLocked = act;
}

/** Headers of an unsafe request. */
export function wordHeader(): Record<string, string> {
  return { "x-cairn-csrf": word };
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && name in value ? (value as Record<string, unknown>)[name] : undefined;
}

/** The refusal in an answer's text. */
export function refusal(status: number, text: string): ApiError {
  let parsed: unknown = null;
  try {
    parsed = JSON.parse(text);
  } catch {
    // Not ours; the status says what there is to say.
  }
  const error = field(parsed, "error");
  const part = (name: string) => {
    const found = field(error, name);
    return typeof found === "string" ? found : "";
  };
  const message = part("message") || `the dashboard answered ${status}`;
  if (status === 401) onLocked();
  return new ApiError(status, part("code") || "Unknown", message, part("remedy"));
}

/** Sends a request with a JSON body, if any, and gives the JSON answer. */
export async function call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const headers: Record<string, string> = method === "GET" ? {} : wordHeader();
  if (body !== undefined) headers["content-type"] = "application/json";
  let answer: Response;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? null : JSON.stringify(body), signal: signal ?? null });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "Unreachable", "the dashboard does not answer", "see that the daemon runs, then load the page again");
  }
  const text = await answer.text();
  if (!answer.ok) throw refusal(answer.status, text);
  return (text === "" ? null : JSON.parse(text)) as T;
}

export const get = <T>(path: string, signal?: AbortSignal) => call<T>("GET", path, undefined, signal);

/** The path of a node's own route. */
export function at(node: string, path: string): string {
  return `/api/nodes/${encodeURIComponent(node)}${path}`;
}

/** `?name=value&…` of what is given. */
export function query(fields: Record<string, string | number | boolean | null | undefined>): string {
  const given = Object.entries(fields).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return given.length === 0 ? "" : `?${given.map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`).join("&")}`;
}
