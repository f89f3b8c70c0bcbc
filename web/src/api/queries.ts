// What pages fetch. One function for each question; the key of a query is its path.
import { keepPreviousData, useQuery, type UseQueryResult } from "@tanstack/react-query";
import { at, get, query } from "./client";
import type {
  AccessKey, Alert, Audit, Bucket, BucketCost, ClientDeal, Dispute, Earnings, History, Listing, Offer, Places, ProviderDeal,
  Spending, Stat, Version, Wallet, Webhook,
} from "./types";

const LIVE_MS = 4000;
const SLOW_MS = 15_000;

function useGet<T>(path: string | null, every: number): UseQueryResult<T> {
  return useQuery({
    queryKey: [path],
    queryFn: ({ signal }) => get<T>(path ?? "", signal),
    enabled: path !== null,
    refetchInterval: every,
    placeholderData: keepPreviousData,
  });
}

export const useEarnings = (node: string) => useGet<Earnings>(at(node, "/v1/earnings"), LIVE_MS);
export const useProviderDeals = (node: string) => useGet<{ deals: ProviderDeal[] }>(at(node, "/v1/deals"), LIVE_MS);
export const useClientDeals = (node: string) => useGet<{ deals: ClientDeal[] }>(at(node, "/v1/deals"), LIVE_MS);
export const useSpending = (node: string) => useGet<Spending>(at(node, "/v1/spending"), LIVE_MS);
export const useWallet = (node: string) => useGet<Wallet>(at(node, "/v1/wallet"), LIVE_MS);
export const useOffers = (node: string | null) => useGet<{ offers: Offer[] }>(node === null ? null : at(node, "/v1/offers"), SLOW_MS);
export const useAudits = (node: string, failed: boolean, max: number) =>
  useGet<{ audits: Audit[] }>(at(node, `/v1/audits${query({ failed: failed || null, max })}`), LIVE_MS);
export const useDisputes = (node: string) => useGet<{ disputes: Dispute[] }>(at(node, "/v1/disputes"), SLOW_MS);
export const useBuckets = (node: string) => useGet<{ buckets: Bucket[] }>(at(node, "/v1/buckets"), SLOW_MS);
export const useBucketCost = (node: string, bucket: string) =>
  useGet<BucketCost>(at(node, `/v1/buckets/${encodeURIComponent(bucket)}`), SLOW_MS);
export const useListing = (node: string, bucket: string, prefix: string, cursor: string, max: number) =>
  useGet<Listing>(at(node, `/v1/objects${query({ bucket, prefix, delimiter: "/", cursor, max })}`), SLOW_MS);
export const useStat = (node: string, bucket: string, key: string) =>
  useGet<Stat>(at(node, `/v1/stat${query({ bucket, key })}`), SLOW_MS);
export const useVersions = (node: string, bucket: string, key: string) =>
  useGet<{ versions: Version[] }>(at(node, `/v1/versions${query({ bucket, key })}`), SLOW_MS);
export const usePlaces = (node: string, bucket: string, key: string) =>
  useGet<Places>(at(node, `/v1/places${query({ bucket, key })}`), SLOW_MS);
export const useKeys = (node: string) => useGet<{ keys: AccessKey[] }>(at(node, "/v1/keys"), SLOW_MS);
export const useAlerts = () => useGet<{ alerts: Alert[]; webhooks: Webhook[] }>("/api/alerts", LIVE_MS);
export const useHistory = (node: string, sinceMs: number) =>
  useGet<History>(at(node, `/history${query({ since_ms: sinceMs })}`), SLOW_MS);
