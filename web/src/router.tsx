// Which address shows which page. Pages do not know each other.
import { createRootRoute, createRoute, createRouter, Link } from "@tanstack/react-router";
import { Empty } from "./parts/basic";
import { Shell } from "./parts/shell";
import { Overview } from "./pages/overview";
import { Alerts } from "./pages/alerts";
import { Network } from "./pages/network";
import { EarningsPage } from "./pages/earnings";
import { Disks } from "./pages/disks";
import { Clients } from "./pages/clients";
import { Buckets } from "./pages/buckets";
import { BucketPage } from "./pages/buckets/bucket";
import { Keys } from "./pages/keys";
import { SpendingPage } from "./pages/spending";
import { Providers } from "./pages/providers";
import { Audits } from "./pages/audits";
import { LedgerPage } from "./pages/ledger";
import { Settings } from "./pages/settings";

const text = (value: unknown) => (typeof value === "string" ? value : undefined);
const root = createRootRoute({
  component: Shell,
  notFoundComponent: () => <Empty title="There is no such page"><Link to="/">Begin at the overview</Link></Empty>,
  validateSearch: (search: Record<string, unknown>): { node?: string; prefix?: string } => ({
    ...(text(search["node"]) === undefined ? {} : { node: text(search["node"]) }),
    ...(text(search["prefix"]) === undefined ? {} : { prefix: text(search["prefix"]) }),
  }),
});
const page = <const Path extends string>(path: Path, component: () => React.ReactNode) => createRoute({ getParentRoute: () => root, path, component });

const tree = root.addChildren([
  page("/", Overview),
  page("/alerts", Alerts),
  page("/network", Network),
  page("/earnings", EarningsPage),
  page("/disks", Disks),
  page("/clients", Clients),
  page("/buckets", Buckets),
  page("/buckets/$bucket", BucketPage),
  page("/keys", Keys),
  page("/spending", SpendingPage),
  page("/providers", Providers),
  page("/audits", Audits),
  page("/ledger", LedgerPage),
  page("/settings", Settings),
]);

export const router = createRouter({ routeTree: tree });

declare module "@tanstack/react-router" {
  interface Register { router: typeof router }
}
