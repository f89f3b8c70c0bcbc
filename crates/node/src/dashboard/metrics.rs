//! `/metrics`: the latest sample in the text format of Prometheus (prometheus.io/docs/instrumenting/exposition_formats).
//!
//! Never: a name of a bucket, a key or a client. Limits: one line for each number of a node or disk.

use std::fmt::Write;

use serde_json::Value;

use super::sampler::{NodeSample, Sample, number};

/// A family of numbers: name, type, help.
type Family = (&'static str, &'static str, &'static str);

/// Of every node: the family, and where the number is.
const OF_STATUS: [(Family, &[&str]); 14] = [
    (("cairn_store_total_bytes", "gauge", "Bytes rented out."), &["store", "total_len"]),
    (("cairn_store_used_bytes", "gauge", "Bytes taken by shards."), &["store", "used_len"]),
    (("cairn_store_reserved_bytes", "gauge", "Bytes promised to shards that are arriving."), &["store", "reserved_len"]),
    (("cairn_store_free_bytes", "gauge", "Bytes that new shards can still take."), &["store", "free_len"]),
    (("cairn_store_shards", "gauge", "Shards stored."), &["store", "shards"]),
    (("cairn_server_streams", "gauge", "Streams of clients that are open."), &["server", "streams"]),
    (("cairn_dht_peers", "gauge", "Entries of the DHT routing table."), &["net", "dht_peers"]),
    (("cairn_buckets", "gauge", "Buckets."), &["objects", "buckets"]),
    (("cairn_objects", "gauge", "Objects that can be read."), &["objects", "objects"]),
    (("cairn_object_bytes", "gauge", "Their bytes."), &["objects", "object_bytes"]),
    (("cairn_uploads", "gauge", "Multipart uploads in progress."), &["objects", "uploads"]),
    (("cairn_trash_blobs", "gauge", "Blobs that wait to be deleted from their providers."), &["objects", "trash"]),
    (("cairn_catalog_commits_total", "counter", "Commits of the catalog since it was opened."), &["objects", "commits"]),
    (("cairn_started_at_milliseconds", "gauge", "When the daemon started, Unix time."), &["started_at_ms"]),
];
const OF_HEALTH: [(Family, &[&str]); 6] = [
    (("cairn_segments", "gauge", "Segments that the catalog refers to."), &["segments"]),
    (("cairn_segments_whole", "gauge", "Segments with all their shards."), &["whole"]),
    (("cairn_segments_degraded", "gauge", "Segments that miss shards and are not due for repair."), &["degraded"]),
    (("cairn_segments_due", "gauge", "Segments due for repair."), &["due"]),
    (("cairn_segments_lost", "gauge", "Segments that cannot be read now."), &["lost"]),
    (("cairn_shards_silent", "gauge", "Shards whose providers did not answer at the last look."), &["silent"]),
];
const OF_MONEY: [(Family, &[&str]); 8] = [
    (("cairn_earnings_potential_credits", "gauge", "Stored and read, not yet promised."), &["potential"]),
    (("cairn_earnings_accrued_credits", "gauge", "Promised by vouchers, not yet redeemed."), &["accrued"]),
    (("cairn_earnings_redeemed_credits", "counter", "Paid out to the wallet so far."), &["redeemed"]),
    (("cairn_spending_owed_credits", "gauge", "Owed by the meter and not promised."), &["now", "potential"]),
    (("cairn_spending_promised_credits", "gauge", "Promised to providers and not redeemed."), &["now", "promised"]),
    (("cairn_spending_redeemed_credits", "counter", "Redeemed by providers."), &["now", "redeemed"]),
    (("cairn_spending_deposited_credits", "gauge", "In channels and not promised."), &["now", "deposited"]),
    (("cairn_spending_month_left_credits", "gauge", "Left of this month's budget."), &["now", "month_left"]),
];
const OF_WALLET: [(Family, &[&str]); 2] = [
    (("cairn_wallet_credits", "gauge", "Credits in the wallet."), &["credits"]),
    (("cairn_ledger_open_commands", "gauge", "Transactions that are under way."), &["open_commands"]),
];
const OF_DISK: [(Family, &[&str]); 3] = [
    (("cairn_disk_quota_bytes", "gauge", "Bytes that a disk rents out."), &["quota_len"]),
    (("cairn_disk_used_bytes", "gauge", "Bytes of a disk that shards take."), &["used_len"]),
    (("cairn_disk_free_bytes", "gauge", "Bytes that new shards can still take on a disk."), &["free_len"]),
];

/// The text of a sample.
pub fn text(sample: &Sample, alerts: usize) -> String {
    let mut text = String::new();
    family(&mut text, ("cairn_up", "gauge", "Whether the node answers."), sample, |node| {
        Some(if node.status.is_some() { "1".into() } else { "0".into() })
    });
    family(&mut text, ("cairn_peers", "gauge", "Peers with a live connection."), sample, |node| {
        Some(node.status.as_ref()?["net"]["connected"].as_array()?.len().to_string())
    });
    for (named, path) in OF_STATUS {
        family(&mut text, named, sample, |node| number(node.status.as_ref(), path).map(|number| number.to_string()));
    }
    for (named, path) in OF_HEALTH {
        family(&mut text, named, sample, |node| number(node.health.as_ref(), path).map(|number| number.to_string()));
    }
    for (named, path) in OF_MONEY {
        family(&mut text, named, sample, |node| number(node.money.as_ref(), path).map(credits));
    }
    for (named, path) in OF_WALLET {
        let show = |base: u128| if path == ["credits"] { credits(base) } else { base.to_string() };
        family(&mut text, named, sample, |node| number(node.wallet.as_ref(), path).map(show));
    }
    for (named, path) in OF_DISK {
        disks(&mut text, named, sample, |disk| number(Some(disk), path).map(|number| number.to_string()));
    }
    disks(&mut text, ("cairn_disk_read_only", "gauge", "Whether a disk takes no writes."), sample, |disk| {
        Some(u8::from(!disk["read_only"].is_null()).to_string())
    });
    let _ = write!(
        text,
        "# HELP cairn_alerts Alerts that are open and not acknowledged.\n# TYPE cairn_alerts gauge\ncairn_alerts {alerts}\n"
    );
    text
}

fn head(text: &mut String, (name, kind, help): Family) {
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n"); // writing to a String cannot fail
}

fn labels(node: &NodeSample) -> String {
    let kind = serde_json::to_value(node.kind).ok().and_then(|kind| kind.as_str().map(str::to_owned)).unwrap_or_default();
    format!("node=\"{}\",role=\"{kind}\"", escaped(&node.name))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn family(text: &mut String, named: Family, sample: &Sample, number_of: impl Fn(&NodeSample) -> Option<String>) {
    let found: Vec<_> = sample.nodes.iter().filter_map(|node| Some((node, number_of(node)?))).collect();
    if found.is_empty() {
        return;
    }
    head(text, named);
    for (node, number) in found {
        let _ = writeln!(text, "{}{{{}}} {number}", named.0, labels(node));
    }
}

fn disks(text: &mut String, named: Family, sample: &Sample, number_of: impl Fn(&Value) -> Option<String>) {
    let disks_of = |node: &NodeSample| node.status.as_ref().and_then(|status| status["store"]["disks"].as_array().cloned());
    let mut lines = String::new();
    for node in &sample.nodes {
        for disk in disks_of(node).into_iter().flatten() {
            if let Some(number) = number_of(&disk) {
                let path = escaped(disk["path"].as_str().unwrap_or_default());
                let _ = writeln!(lines, "{}{{{},disk=\"{path}\"}} {number}", named.0, labels(node));
            }
        }
    }
    if !lines.is_empty() {
        head(text, named);
        text.push_str(&lines);
    }
}

/// Base units as credits: 18 digits after the point.
fn credits(base: u128) -> String {
    const CREDIT: u128 = 1_000_000_000_000_000_000;
    let text = format!("{}.{:018}", base / CREDIT, base % CREDIT);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::nodes::Kind;
    use super::*;

    #[test]
    fn the_dashboard_for_grafana_asks_for_numbers_that_there_are() {
        let file = include_str!("../../../../docs/operating/grafana.json");
        let read: Value = serde_json::from_str(file).unwrap();
        let targets = read["panels"].as_array().unwrap().iter().flat_map(|panel| panel["targets"].as_array().unwrap());
        let wanted: Vec<&str> = targets.map(|target| target["expr"].as_str().unwrap()).collect();
        let families = [&OF_STATUS[..], &OF_HEALTH, &OF_MONEY, &OF_WALLET, &OF_DISK].concat();
        let known: Vec<&str> = families
            .iter()
            .map(|((name, ..), _)| *name)
            .chain(["cairn_up", "cairn_peers", "cairn_alerts", "cairn_disk_read_only"])
            .collect();
        assert!(wanted.len() > 10);
        assert_eq!(wanted.iter().find(|name| !known.contains(name)), None);
    }

    #[test]
    fn numbers_have_units_and_labels_are_escaped() {
        let store = json!({"total_len": 5, "disks": [{"path": "/a\"\\\n", "quota_len": 7, "read_only": "broken"}]});
        let up = NodeSample {
            status: Some(json!({"store": store, "net": {"connected": []}})),
            money: Some(json!({"potential": "1500000000000000000", "accrued": "7"})),
            ..NodeSample::new("p1", Kind::Provider)
        };
        let down = NodeSample::new("p2", Kind::Provider);
        let text = text(&Sample { at: Default::default(), nodes: vec![up, down] }, 3);
        for line in [
            "cairn_up{node=\"p1\",role=\"provider\"} 1",
            "cairn_up{node=\"p2\",role=\"provider\"} 0",
            "cairn_store_total_bytes{node=\"p1\",role=\"provider\"} 5",
            "cairn_disk_quota_bytes{node=\"p1\",role=\"provider\",disk=\"/a\\\"\\\\\\n\"} 7",
            "cairn_disk_read_only{node=\"p1\",role=\"provider\",disk=\"/a\\\"\\\\\\n\"} 1",
            "cairn_earnings_potential_credits{node=\"p1\",role=\"provider\"} 1.5",
            "cairn_earnings_accrued_credits{node=\"p1\",role=\"provider\"} 0.000000000000000007",
            "cairn_alerts 3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("cairn_wallet_credits"), "what is not known is not shown as nothing");
        let helps = text.lines().filter(|line| line.starts_with("# HELP cairn_up ")).count();
        assert_eq!(helps, 1);
    }
}
