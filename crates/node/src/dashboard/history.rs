//! The charts' past: a few numbers of every node, dense for the last day and sparse for years.
//!
//! One file of JSON lines for each node and density; a line is `[at_ms, number, …]` in the order of [`series`]. A torn or foreign line is
//! passed over. Never: a gap filled in. Limits: those of [`DENSITIES`]; a file is written anew when half of it is too old.

use std::collections::{BTreeMap, VecDeque};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use cairn_types::UnixMs;
use serde_json::{Value, json};

use super::nodes::{Kind, Node};
use super::sampler::{NodeSample, Sample, number};
use crate::home::{make_private_dir, write_private};

const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;
const DAY_MS: u64 = 24 * HOUR_MS;

/// How dense, by name: milliseconds between two points, and how many are kept. The first covers an hour that is counted from a whole minute.
pub const DENSITIES: [(&str, u64, usize); 4] =
    [("10s", 10_000, 366), ("5m", 5 * MINUTE_MS, 30 * 288), ("1h", HOUR_MS, 2 * 8766), ("1d", DAY_MS, 20 * 366)];

/// The numbers of a node, by name. Lengths are in bytes, credits in base units.
pub fn series(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Provider => {
            &["used_len", "free_len", "total_len", "shards", "peers", "potential", "accrued", "redeemed", "credits"]
        }
        Kind::Gateway => &[
            "object_len",
            "objects",
            "peers",
            "segments",
            "degraded",
            "due",
            "lost",
            "potential",
            "promised",
            "redeemed",
            "deposited",
            "credits",
        ],
        Kind::Peer | Kind::Delegate => &["peers", "dht_peers"],
        Kind::Chain => &[],
    }
}

fn numbers(sample: &NodeSample) -> Option<Vec<Option<u128>>> {
    let status = Some(sample.status.as_ref()?);
    let peers = status.and_then(|status| status["net"]["connected"].as_array()).map(|peers| peers.len() as u128);
    let number_of = |name: &&str| match *name {
        "peers" => peers,
        "dht_peers" => number(status, &["net", "dht_peers"]),
        "object_len" => number(status, &["objects", "object_bytes"]),
        "objects" => number(status, &["objects", "objects"]),
        "used_len" | "free_len" | "total_len" | "shards" => number(status, &["store", name]),
        "segments" | "degraded" | "due" | "lost" => number(sample.health.as_ref(), &[name]),
        "credits" => number(sample.wallet.as_ref(), &[name]),
        _ if sample.kind == Kind::Gateway => number(sample.money.as_ref(), &["now", name]),
        _ => number(sample.money.as_ref(), &[name]),
    };
    Some(series(sample.kind).iter().map(number_of).collect())
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Point {
    at: UnixMs,
    numbers: Vec<Option<u128>>,
}

impl Point {
    fn json(&self) -> Value {
        let numbers = self.numbers.iter().map(|number| json!(number.map(|number| number.to_string())));
        Value::Array(std::iter::once(json!(self.at)).chain(numbers).collect())
    }

    fn read(line: &str, count: usize) -> Option<Point> {
        let Value::Array(fields) = serde_json::from_str(line).ok()? else { return None };
        let (at, numbers) = fields.split_first()?;
        let number = |field: &Value| match field {
            Value::Null => Some(None),
            field => field.as_str()?.parse().ok().map(Some),
        };
        let numbers = numbers.iter().map(number).collect::<Option<Vec<_>>>()?;
        (numbers.len() == count).then_some(Point { at: UnixMs(at.as_u64()?), numbers })
    }
}

struct Track {
    path: PathBuf,
    every_ms: u64,
    max: usize,
    points: VecDeque<Point>,
    /// Lines of the file.
    lines: usize,
}

impl Track {
    fn open(path: PathBuf, every_ms: u64, max: usize, count: usize) -> Result<Track> {
        let text = match std::fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let mut points = VecDeque::new();
        for point in text.lines().filter_map(|line| Point::read(line, count)) {
            if points.back().is_none_or(|last: &Point| last.at < point.at) {
                points.push_back(point);
            }
            if points.len() > max {
                points.pop_front();
            }
        }
        // More lines than points: the file is written anew soon, and with it goes what could not be read.
        Ok(Track { path, every_ms, max, points, lines: text.lines().count() })
    }

    fn add(&mut self, point: &Point) -> Result<()> {
        let slot = |at: UnixMs| at.0 / self.every_ms;
        if self.points.back().is_some_and(|last| slot(last.at) >= slot(point.at)) {
            return Ok(());
        }
        self.points.push_back(point.clone());
        if self.points.len() > self.max {
            self.points.pop_front();
        }
        if self.lines >= 2 * self.max {
            let text: String = self.points.iter().map(|point| format!("{}\n", point.json())).collect();
            self.lines = self.points.len();
            return write_private(&self.path, text.as_bytes());
        }
        self.lines += 1;
        // A line break first: what a crash tore before stays a line of its own.
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path)?;
        Ok(file.write_all(format!("\n{}", point.json()).as_bytes())?)
    }
}

/// The past of all nodes.
pub struct History(Mutex<BTreeMap<String, Vec<Track>>>);

impl History {
    /// Opens what `dir` has.
    ///
    /// # Errors
    /// The directory cannot be read or written.
    pub fn open(dir: &Path, nodes: &[Node]) -> Result<History> {
        make_private_dir(dir)?;
        let track = |node: &Node, (density, every_ms, max): (&str, u64, usize)| {
            Track::open(dir.join(format!("{}.{density}.jsonl", node.name)), every_ms, max, series(node.kind).len())
        };
        let tracks = |node: &Node| {
            let tracks = DENSITIES.into_iter().map(|density| track(node, density)).collect::<Result<_>>()?;
            Ok((node.name.clone(), tracks))
        };
        Ok(History(Mutex::new(nodes.iter().map(tracks).collect::<Result<_>>()?)))
    }

    /// Notes a sample where the time for a point has come. Blocking.
    pub fn note(&self, sample: &Sample) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for node in &sample.nodes {
            let (Some(tracks), Some(numbers)) = (all.get_mut(&node.name), numbers(node)) else { continue };
            let point = Point { at: sample.at, numbers };
            for track in tracks {
                if let Err(error) = track.add(&point) {
                    tracing::warn!(error = format!("{error:#}"), path = %track.path.display(), "a point of the charts is lost");
                }
            }
        }
    }

    /// The points of a node since a moment, of the density that covers the time with the most points.
    pub fn read(&self, node: &Node, since: UnixMs, now: UnixMs) -> Value {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let span_ms = now.since_ms(since);
        let Some(tracks) = all.get(&node.name) else { return json!({"series": [], "points": []}) };
        let covering = tracks.iter().find(|track| track.every_ms.saturating_mul(track.max as u64) >= span_ms);
        let Some(track) = covering.or(tracks.last()) else { return json!({"series": [], "points": []}) };
        let points: Vec<Value> = track.points.iter().filter(|point| point.at >= since).map(Point::json).collect();
        json!({"series": series(node.kind), "every_ms": track.every_ms, "points": points})
    }

    /// The same as lines of CSV.
    pub fn csv(&self, node: &Node, since: UnixMs, now: UnixMs) -> String {
        let read = self.read(node, since, now);
        let mut text = format!("at_ms,{}\n", series(node.kind).join(","));
        for point in read["points"].as_array().into_iter().flatten().filter_map(Value::as_array) {
            let fields = point.iter().map(|field| {
                field.as_str().map_or_else(|| field.as_u64().map_or(String::new(), |at| at.to_string()), str::to_owned)
            });
            text.push_str(&fields.collect::<Vec<_>>().join(","));
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Node {
        Node::new("p1", Kind::Provider, Path::new("/nowhere"))
    }

    fn sample(at: u64, used: u64) -> Sample {
        let status =
            json!({"store": {"used_len": used, "free_len": 1, "total_len": 2, "shards": 3}, "net": {"connected": [1, 2]}});
        let money = Some(json!({"potential": "340282366920938463463374607431768211455"}));
        let node = NodeSample { status: Some(status), money, ..NodeSample::new("p1", Kind::Provider) };
        Sample { at: UnixMs(at), nodes: vec![node] }
    }

    #[test]
    fn points_come_in_their_time_and_are_there_after_a_restart() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("history");
        let history = History::open(&dir, &[node()]).unwrap();
        for (at, used) in [(1_000, 1), (2_000, 2), (11_000, 3), (301_000, 4)] {
            history.note(&sample(at, used));
        }
        let used = |history: &History, span: u64| -> Vec<u64> {
            let read = history.read(&node(), UnixMs(0), UnixMs(span));
            read["points"].as_array().unwrap().iter().map(|point| point[1].as_str().unwrap().parse().unwrap()).collect()
        };
        assert_eq!(used(&history, HOUR_MS), [1, 3, 4], "one point for ten seconds");
        assert_eq!(used(&history, DAY_MS), [1, 4], "one for five minutes");
        drop(history);
        // A crash tore the last line.
        let path = dir.join("p1.10s.jsonl");
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 5]).unwrap();
        let history = History::open(&dir, &[node()]).unwrap();
        history.note(&sample(400_000, 5));
        assert_eq!(used(&history, HOUR_MS), [1, 3, 5]);
        let history = History::open(&dir, &[node()]).unwrap();
        assert_eq!(used(&history, HOUR_MS), [1, 3, 5], "what follows a torn line is read");
        let csv = history.csv(&node(), UnixMs(399_000), UnixMs(HOUR_MS));
        let last = "400000,5,1,2,3,2,340282366920938463463374607431768211455,,,";
        assert_eq!(
            csv.lines().collect::<Vec<_>>(),
            ["at_ms,used_len,free_len,total_len,shards,peers,potential,accrued,redeemed,credits", last]
        );
    }

    #[test]
    fn a_file_does_not_grow_for_ever() {
        let root = tempfile::tempdir().unwrap();
        let mut track = Track::open(root.path().join("x"), 1, 4, 1).unwrap();
        for at in 0..100 {
            track.add(&Point { at: UnixMs(at), numbers: vec![Some(1)] }).unwrap();
        }
        let lines = std::fs::read_to_string(root.path().join("x")).unwrap().lines().count();
        assert!(track.points.len() == 4 && lines <= 12, "{lines}");
        assert_eq!(Track::open(root.path().join("x"), 1, 4, 1).unwrap().points, track.points);
    }
}
