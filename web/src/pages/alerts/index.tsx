// What needs attention, why, and what helps.
import { useQueryClient } from "@tanstack/react-query";
import { call } from "../../api/client";
import { useAlerts } from "../../api/queries";
import type { Alert } from "../../api/types";
import { Act, Badge, Card, Empty, Loaded, Title, When } from "../../parts/basic";
import { Webhooks } from "./webhooks";

export function Alerts() {
  const alerts = useAlerts();
  const queries = useQueryClient();
  const acknowledge = (alert: Alert) =>
    call("POST", "/api/alerts/acknowledge", { id: alert.id }).then(() => queries.invalidateQueries({ queryKey: ["/api/alerts"] }));
  return (
    <>
      <Title>Alerts</Title>
      <Loaded query={alerts}>
        {({ alerts: all, webhooks }) => (
          <>
          {all.length === 0 ? (
            <Card><Empty title="There has been no alert"><p>A disk that takes no writes, a failed audit, a node that is down: it would be shown here with its cause and what helps.</p></Empty></Card>
          ) : (
            all.map((alert) => (
              <Card key={alert.id}>
                <div className="row between">
                  <div className="row">
                    <Badge kind={alert.over !== null ? "good" : alert.severity === "critical" ? "bad" : "warn"}>{alert.over !== null ? "over" : alert.severity}</Badge>
                    <strong>{alert.title}</strong>
                  </div>
                  <span className="soft small">{alert.node}, since <When at={alert.since} />{alert.over !== null && <>, until <When at={alert.over} /></>}</span>
                </div>
                <dl>
                  <dt>Cause</dt><dd>{alert.cause}</dd>
                  <dt>What helps</dt><dd>{alert.remedy}</dd>
                </dl>
                {alert.acknowledged === null && alert.over === null ? <Act label="Acknowledge" act={() => acknowledge(alert)} /> : alert.acknowledged !== null && <span className="soft small">acknowledged <When at={alert.acknowledged} /></span>}
              </Card>
            ))
          )}
          <Webhooks all={webhooks} />
          </>
        )}
      </Loaded>
    </>
  );
}
