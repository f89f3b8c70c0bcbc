// Who is told of alerts, and whether it gets there.
import { useQueryClient } from "@tanstack/react-query";
import { call } from "../../api/client";
import type { Webhook } from "../../api/types";
import { Act, Badge, Card, When } from "../../parts/basic";

export function Webhooks({ all }: { all: Webhook[] }) {
  const queries = useQueryClient();
  const test = () => call("POST", "/api/alerts/test", {}).then(() => queries.invalidateQueries({ queryKey: ["/api/alerts"] }));
  return (
    <Card title="Webhooks" more={all.length > 0 && <Act label="Send a test" act={test} />}>
      {all.length === 0 ? (
        <p className="soft">To be told of alerts elsewhere, start the daemon with <code>--dashboard-webhook https://…</code>: it gets each alert as a POST of JSON, when it begins and when it is over.</p>
      ) : (
        all.map((webhook) => (
          <div className="row between" key={webhook.hook}>
            <div className="row">
              <Badge kind={webhook.trouble !== null ? "bad" : "good"}>{webhook.trouble !== null ? "fails" : webhook.told_at !== null ? "told" : "waits"}</Badge>
              <code>{webhook.hook}</code>
            </div>
            <span className="soft small">{webhook.trouble ?? (webhook.told_at !== null ? <>last told <When at={webhook.told_at} /></> : "nothing to tell yet")}</span>
          </div>
        ))
      )}
    </Card>
  );
}
