// What the nodes answer, as docs/formats/native-api.md and docs/formats/dashboard.md have it. Amounts are decimal strings of base units.

export type Kind = "provider" | "gateway" | "peer" | "delegate" | "chain";
export interface Session { state: "first" | "locked" | "open"; csrf: string | null; version: string }
export interface Trouble { message: string; remedy: string }

export interface Peer { node: string; address: string; connections: number; rtt_us: number | null; agent: string | null }
export interface Reach { node: string; reachable: boolean; reason: string | null }
export interface Disk {
  path: string; id: string; quota_len: number; used_len: number; reserved_len: number; free_len: number; reserve_len: number;
  read_only: string | null; shards: number; collected_len: number;
}
export interface Store {
  total_len: number; used_len: number; reserved_len: number; free_len: number; shards: number; accepting: boolean; disks: Disk[];
}
export interface KnownProvider {
  node: string; usable: boolean; free_len: number; total_len: number; region: string; domain: string; latency_us: number;
  reads: number; stores: number; failures: number; last_failure: string | null; barred: string | null;
}
export interface ObjectsStats {
  buckets: number; objects: number; object_bytes: number; uploads: number; blobs: number; blob_bytes: number; packs: number;
  pack_waste_bytes: number; trash: number;
}
export interface Status {
  role: string; version: string; pid: number; node: string; dir: string; started_at_ms: number;
  net?: { listen: string[]; advertised: string[]; private: boolean; connected: Peer[]; providers: Reach[]; dht_peers: number };
  store?: Store; server?: { streams: number; peers: number; stores: number; stopping: boolean }; registered?: boolean | null;
  s3?: { endpoint: string; region: string }; objects?: ObjectsStats;
  tier?: { redundancy: string; receipts_min: number } | null; providers?: KnownProvider[];
}
export interface Earnings {
  owner: string; potential: string; accrued: string; redeemed: string; credits: string | null; deals: number; conserved: boolean;
  redeem_from: string | null; redeem_cost: string | null;
}
export interface MoneyNow {
  potential: string; promised: string; redeemed: string; deposited: string; month_deposited: string; month_left: string | null;
  conserved: boolean;
}
export interface Spending { now: MoneyNow; months: { start: number; promised: string }[] }
export interface Wallet {
  address: string; credits: string; coin: string; chain_id: number; token: string; faucet: string | null; followed_block: number | null;
  open_commands: number; read_only: boolean; pause: string | null; trouble: string | null;
}
export interface Health {
  segments: number; whole: number; degraded: number; due: number; lost: number; silent: number;
  at_risk: { blob: string; segment: number; live: number; needed: number; total: number; lost: number; silent: number }[];
}
export interface NodeSample {
  name: string; kind: Kind; error: Trouble | null; status: Status | null; money: Earnings | Spending | null; wallet: Wallet | null;
  health: Health | null;
}
export interface Sample { at: number; nodes: NodeSample[]; alerts: number }

export interface Explained { permille: number; items: unknown[] }
export interface ClientDeal {
  provider: string; deal: string; life: unknown; channel: string; payee: string; deposit: string; promised: string; settled: string;
  owed: string | null; potential: string; shards: number; stored_len: number; egress_len: number; storage_price: string;
  egress_price: string; epoch_ms: number; epoch_cost: string | null; since: number; audited: number; next_audit: number | null;
  durability: Explained; retrieval: Explained; closing: boolean; barred: string | null; alarm: string | null;
}
export interface ProviderDeal {
  deal: string; client: string; channel: string; channel_state: string; closes_at: number | null; deposit: string; storage_price: string;
  egress_price: string; epoch_ms: number; since: number; shards: number; stored_len: number; egress_len: number; owed: string;
  committed_at: number; overdue: boolean; potential: string; accrued: string; redeemed: string;
}
export interface Audit {
  id: string; at: number; ended: number; provider: string; deal: string; grade: string; probes: number; held: number; failed: number;
  failures: { shard: string; block: number; leaf: number; reason: string }[]; reason: string; promised: string; committed: boolean;
}
export type Account = string | Record<string, string>;
export type Line = { Debit: [Account, string] } | { Credit: [Account, string] };
export interface Journal {
  opening: { first: number; accounts: { account: Account; debits: string; credits: string }[] };
  entries: { number: number; at: number; memo: string; lines: Line[] }[];
}
export interface Offer {
  provider: string; storage_price: string; egress_price: string; collateral_per_gib: string; free_len: number; region: string;
  refused: string | null;
}
export interface Bucket { name: string; created: number; owner: string; region: string; versioning: string; lockable: boolean }
export interface BucketCost {
  name: string; objects: number; len: number; month_max: string | null;
  estimate: { month: string; read: string; redundancy: string; stored_len: number; providers: number } | { error: string };
}
export interface Listed { key: string; len: number; etag: string; modified_ms: number }
export interface Listing { objects: Listed[]; prefixes: string[]; next: string | null }
export interface Stat {
  bucket: string; key: string; version: string; len: number; etag: string; modified_ms: number; content_type: string | null;
  user: Record<string, string>; tags: Record<string, string>; storage_class: string; parts: number;
}
export interface Version { key: string; version: string; latest: boolean; delete_marker: boolean; len: number; etag: string; modified_ms: number }
export interface Places {
  segments: {
    blob: string; segment: number; live: number; needed: number; total: number;
    shards: { index: number; provider: string; live: boolean }[];
  }[];
}
export interface Shared { url: string; expires_at_ms: number; access_key: string }
export interface AccessKey {
  access_key: string; label: string; created: number; revoked: boolean; user: string; bucket: string; prefix: string; read_only: boolean;
  expires: number | null;
}
export interface NewKey { access_key: string; secret_key: string }
export interface Alert {
  id: string; node: string; severity: "critical" | "warning"; title: string; cause: string; remedy: string; since: number;
  over: number | null; acknowledged: number | null;
}
export interface Webhook { hook: string; told_at: number | null; trouble: string | null }
export interface History { series: string[]; every_ms: number; points: (string | number | null)[][] }
export interface Dispute {
  dispute: string; state: string; open: boolean; deadline_s?: number | null; at_risk?: string | null; provider?: string; provider_wallet?: string;
  reason?: string | null;
}
