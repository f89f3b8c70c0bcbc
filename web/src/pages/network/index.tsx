// Who is connected, who can be reached, how far away, and what providers ask.
import { useState } from "react";
import { useLive, useNodes } from "../../api/live";
import { useOffers } from "../../api/queries";
import type { Offer } from "../../api/types";
import { bytes, count, latency, perTib } from "../../lib/format";
import { Badge, Card, Copy, Empty, Id, Loaded, Money, Table, Title } from "../../parts/basic";
import { NodeChoice } from "../../parts/node";

export function Network() {
  const { sample } = useLive();
  const nodes = (sample?.nodes ?? []).filter((node) => node.status?.net !== undefined);
  const [chosen, setChosen] = useState("");
  const gateway = useNodes("gateway")[0];
  const node = nodes.find((one) => one.name === chosen) ?? nodes.find((one) => one.kind === "gateway") ?? nodes[0];
  const net = node?.status?.net;
  return (
    <>
      <Title
        more={node !== undefined && <NodeChoice nodes={nodes} chosen={node.name} onChoose={setChosen} />}
      >
        Network
      </Title>
      {node === undefined || net === undefined ? (
        <Empty title="No node of the network answers" />
      ) : (
        <>
          <Card title="This node">
            <dl>
              <dt>Node</dt><dd><code>{node.status?.node}</code></dd>
              <dt>Listens on</dt><dd>{net.listen.map((address) => <div key={address}><code>{address}</code></div>)}</dd>
              <dt>Tells others</dt><dd>{net.advertised.length === 0 ? "nothing: others reach it only by connections that it opened" : net.advertised.map((address) => <div key={address} className="row"><code>{address}</code><Copy text={`${address}/p2p/${node.status?.node}`} label="Copy for --bootstrap" /></div>)}</dd>
              <dt>DHT</dt><dd>{count(net.dht_peers)} entries of the routing table</dd>
              <dt>Closed</dt><dd>{net.private ? "yes, by a pre-shared key" : "no"}</dd>
            </dl>
          </Card>
          <Card title={`${net.connected.length} peers connected`}>
            {net.connected.length === 0 ? <Empty title="No peer is connected"><p>Give the address of a node with <code>--bootstrap</code>; <code>cairn doctor</code> tests it.</p></Empty> : (
              <Table
                label="Peers"
                rows={net.connected}
                keyOf={(peer) => peer.node}
                columns={[
                  { head: "Peer", cell: (peer) => <Id of={peer.node} /> },
                  { head: "Address", cell: (peer) => <code>{peer.address}</code> },
                  { head: "Software", cell: (peer) => peer.agent ?? "–" },
                  { head: "Round trip", numeric: true, cell: (peer) => latency(peer.rtt_us) },
                ]}
              />
            )}
          </Card>
          {net.providers.length > 0 && (
            <Card title={`${net.providers.length} providers known`}>
              <Table
                label="Providers known"
                rows={net.providers}
                keyOf={(one) => one.node}
                columns={[
                  { head: "Provider", cell: (one) => <Id of={one.node} /> },
                  { head: "Reachable", cell: (one) => (one.reachable ? <Badge kind="good">yes</Badge> : <Badge kind="bad">no</Badge>) },
                  { head: "Why not", cell: (one) => one.reason ?? "" },
                ]}
              />
            </Card>
          )}
        </>
      )}
      {gateway?.money !== undefined && gateway.money !== null && <Offers node={gateway.name} />}
    </>
  );
}

function quartiles(offers: Offer[], of: (offer: Offer) => string): (string | undefined)[] {
  const sorted = offers.map((offer) => BigInt(of(offer))).sort((one, other) => (one < other ? -1 : one > other ? 1 : 0));
  return [0, 0.25, 0.5, 0.75, 1].map((part) => sorted[Math.round(part * (sorted.length - 1))]?.toString());
}

function Offers({ node }: { node: string }) {
  const offers = useOffers(node);
  return (
    <Card title="Offers">
      <Loaded query={offers}>
        {({ offers: all }) => all.length === 0 ? <Empty title="No offer was seen yet" /> : (
          <>
            <p className="small soft">
              A TiB and month costs from <Money of={perTib(quartiles(all, (offer) => offer.storage_price)[0])} /> to <Money of={perTib(quartiles(all, (offer) => offer.storage_price)[4])} />, the middle one <Money of={perTib(quartiles(all, (offer) => offer.storage_price)[2])} />.
            </p>
            <Table
              label="Offers"
              rows={all}
              keyOf={(offer) => offer.provider}
              columns={[
                { head: "Provider", cell: (offer) => <Id of={offer.provider} /> },
                { head: "Region", cell: (offer) => offer.region || "–" },
                { head: "Free", numeric: true, cell: (offer) => bytes(offer.free_len) },
                { head: "TiB and month", numeric: true, cell: (offer) => <Money of={perTib(offer.storage_price)} /> },
                { head: "TiB read", numeric: true, cell: (offer) => <Money of={perTib(offer.egress_price)} /> },
                { head: "Collateral for a TiB", numeric: true, cell: (offer) => <Money of={perTib(offer.collateral_per_gib)} /> },
                { head: "Used", cell: (offer) => (offer.refused === null ? <Badge kind="good">yes</Badge> : <><Badge kind="warn">no</Badge> <span className="small">{offer.refused}</span></>) },
              ]}
            />
          </>
        )}
      </Loaded>
    </Card>
  );
}
