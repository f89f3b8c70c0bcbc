//! `cairn put`: small files in one request, large ones in parts that an interrupted put need not send again.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::SeekFrom;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use futures::{StreamExt, TryStreamExt};
use http_body_util::{BodyExt, StreamBody};
use hyper::Method;
use hyper::body::Frame;
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::progress::Progress;
use super::resume::{PutState, StateFile};
use super::{FILES_AT_ONCE, PARTS_AT_ONCE, Place, dialer, standard};
use crate::args;
use crate::outcome::{ExitCode, coded, failure, report, say, say_json};
use crate::socket::{Body, Dialer, empty, json_request, refusal_code, request, with_query};

/// Files above this length go in parts of it: one segment each.
const PART_LEN: u64 = 64 << 20;
const PARTS_MAX: u64 = 10_000;
const READ_LEN: usize = 256 * 1024;

/// Runs the command.
pub async fn put(args: args::Put) -> Result<()> {
    let put = Putter {
        dialer: dialer(&args.socket)?,
        progress: Progress::start(args.socket.json),
        json: args.socket.json,
        resume: !args.no_resume,
    };
    if args.estimate {
        return super::estimate::put(&args, &put.dialer).await;
    }
    let target = args.target.as_deref().context("clap asks for a target")?;
    let place = Place::parse(target)?;
    let done = if args.recursive {
        put.directory(&args.source, &place).await
    } else if args.source == Path::new("-") {
        let place = Place::parse_object(target)?;
        put.stdin(&place).await
    } else {
        let place = named(&place, &args.source)?;
        put.file(&args.source, &place).await
    };
    put.progress.finish();
    done
}

/// The place itself, or for an empty key or one ending in `/`, the file's name in it.
fn named(place: &Place, source: &Path) -> Result<Place> {
    if !place.key.is_empty() && !place.key.ends_with('/') {
        return Ok(place.clone());
    }
    let name = source.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
        coded(ExitCode::Usage, format!("{} has no name that could be a key", source.display()), "name the key: BUCKET/KEY")
    })?;
    Ok(place.with_key(format!("{}{name}", place.key)))
}

#[derive(Clone)]
struct Putter {
    dialer: Dialer,
    progress: Progress,
    json: bool,
    resume: bool,
}

#[derive(Debug, Deserialize)]
struct StoredPart {
    number: u32,
    len: u64,
    etag: String,
}

#[derive(Debug, Deserialize)]
struct PartsPage {
    parts: Vec<StoredPart>,
    next: Option<u32>,
}

impl Putter {
    async fn directory(&self, source: &Path, place: &Place) -> Result<()> {
        let prefix = if place.key.is_empty() || place.key.ends_with('/') { place.key.clone() } else { format!("{}/", place.key) };
        let files = files_under(source)?;
        let failed = futures::stream::iter(files)
            .map(|(path, name)| {
                let place = name.map(|name| place.with_key(format!("{prefix}{name}")));
                async move {
                    let stored = match place {
                        Ok(place) => self.file(&path, &place).await,
                        Err(error) => Err(error),
                    };
                    stored.map_err(|error| tracing::error!("{}: {}", path.display(), report(&error)))
                }
            })
            .buffer_unordered(FILES_AT_ONCE)
            .filter(|stored| futures::future::ready(stored.is_err()))
            .count()
            .await;
        match failed {
            0 => Ok(()),
            count => {
                Err(failure(format!("{count} files were not stored"), "run the same command again; what is stored is stored"))
            }
        }
    }

    async fn stdin(&self, place: &Place) -> Result<()> {
        let body = self.body(standard(std::io::stdin())?);
        let info = self.dialer.json(request(Method::PUT, &place.path("/v1/object"), body)?).await?;
        self.tell(place, &info)
    }

    async fn file(&self, source: &Path, place: &Place) -> Result<()> {
        let source = std::path::absolute(source)?;
        let found = tokio::fs::metadata(&source).await.with_context(|| format!("cannot read {}", source.display()))?;
        if found.is_dir() {
            return Err(coded(
                ExitCode::Usage,
                format!("{} is a directory", source.display()),
                "add -r to store all files under it",
            ));
        }
        self.progress.expect(&place.key, found.len());
        let info = match found.len() {
            len if len <= PART_LEN => self.whole(&source, len, place).await,
            _ => self.in_parts(&source, &found, place).await,
        };
        self.tell(place, &info.with_context(|| format!("cannot store {}", source.display()))?)
    }

    async fn whole(&self, source: &Path, len: u64, place: &Place) -> Result<Value> {
        let file = File::open(source).await?;
        let mut put = request(Method::PUT, &place.path("/v1/object"), self.body(file.take(len)))?;
        put.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(len));
        self.dialer.json(put).await
    }

    async fn in_parts(&self, source: &Path, found: &Metadata, place: &Place) -> Result<Value> {
        let file = StateFile::of(self.dialer.path(), place, source)?;
        let (state, stored) = self.upload(source, found, place, &file).await?;
        let count = found.len().div_ceil(state.part_len);
        let done: u64 = stored.values().map(|part| part.len).sum();
        self.progress.advance(done);
        if done > 0 {
            tracing::info!(upload = state.upload_id, done, "continuing an interrupted put");
        }
        let numbers = (1..=count).map(|number| u32::try_from(number).expect("at most PARTS_MAX parts"));
        let missing: Vec<u32> = numbers.filter(|number| !stored.contains_key(number)).collect();
        let sent: Vec<StoredPart> = futures::stream::iter(missing)
            .map(|number| self.part(source, &state, place, number))
            .buffer_unordered(PARTS_AT_ONCE)
            .try_collect()
            .await?;
        let now = tokio::fs::metadata(source).await?;
        if !state.fits(source, &now) {
            self.abandon(&state, place).await;
            file.forget();
            return Err(failure("the file changed while it was being stored", "run the same command again"));
        }
        let mut parts: Vec<StoredPart> = stored.into_values().chain(sent).collect();
        parts.sort_unstable_by_key(|part| part.number);
        let parts: Vec<Value> = parts.iter().map(|part| json!({"number": part.number, "etag": part.etag})).collect();
        let path = place.path(&format!("/v1/uploads/{}/complete", state.upload_id));
        let info = self.dialer.json(json_request(Method::POST, &path, &json!({"parts": parts}))?).await?;
        file.forget();
        Ok(info)
    }

    /// The upload to go on with and its parts that are stored; a new one when there is none that fits.
    async fn upload(
        &self,
        source: &Path,
        found: &Metadata,
        place: &Place,
        file: &StateFile,
    ) -> Result<(PutState, BTreeMap<u32, StoredPart>)> {
        if let Some(state) = file.load() {
            if self.resume && state.fits(source, found) {
                match self.stored_parts(&state, place).await {
                    Ok(parts) => return Ok((state, parts)),
                    Err(error) if refusal_code(&error) == Some("NoSuchUpload") => {}
                    Err(error) => return Err(error),
                }
            } else {
                self.abandon(&state, place).await;
            }
        }
        let made: Value = self.dialer.json(request(Method::POST, &place.path("/v1/uploads"), empty())?).await?;
        let upload_id = made["upload_id"].as_str().ok_or_else(|| anyhow!("the gateway named no upload"))?.to_owned();
        let part_len = PART_LEN.max(found.len().div_ceil(PARTS_MAX).next_multiple_of(1 << 20));
        let state = PutState::new(source, found, part_len, upload_id);
        file.save(&state)?;
        Ok((state, BTreeMap::new()))
    }

    async fn abandon(&self, state: &PutState, place: &Place) {
        let path = place.path(&format!("/v1/uploads/{}", state.upload_id));
        let aborted = async { self.dialer.call(request(Method::DELETE, &path, empty())?).await };
        if let Err(error) = aborted.await {
            tracing::debug!("an old upload was not aborted: {}", report(&error));
        }
    }

    async fn stored_parts(&self, state: &PutState, place: &Place) -> Result<BTreeMap<u32, StoredPart>> {
        let mut parts = BTreeMap::new();
        let mut after = 0u32;
        loop {
            let fields = [("bucket", place.bucket.as_str()), ("key", place.key.as_str()), ("after", &after.to_string())];
            let path = with_query(&format!("/v1/uploads/{}", state.upload_id), &fields);
            let page: PartsPage = self.dialer.json(request(Method::GET, &path, empty())?).await?;
            let good = page.parts.into_iter().filter(|part| part.len == part_range(state, part.number).1 && part.len > 0);
            parts.extend(good.map(|part| (part.number, part)));
            match page.next {
                Some(next) if next > after => after = next,
                _ => return Ok(parts),
            }
        }
    }

    async fn part(&self, source: &Path, state: &PutState, place: &Place, number: u32) -> Result<StoredPart> {
        let (start, len) = part_range(state, number);
        let mut file = File::open(source).await?;
        file.seek(SeekFrom::Start(start)).await?;
        let path = place.path(&format!("/v1/uploads/{}/parts/{number}", state.upload_id));
        let mut put = request(Method::PUT, &path, self.body(file.take(len)))?;
        put.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(len));
        self.dialer.json(put).await.with_context(|| format!("part {number}"))
    }

    fn body(&self, reader: impl AsyncRead + Send + Sync + 'static) -> Body {
        let progress = self.progress.clone();
        let frames = ReaderStream::with_capacity(reader, READ_LEN).map_ok(move |bytes| {
            progress.advance(bytes.len() as u64);
            Frame::data(bytes)
        });
        BodyExt::boxed_unsync(StreamBody::new(frames))
    }

    fn tell(&self, place: &Place, info: &Value) -> Result<()> {
        match self.json {
            true => say_json(info)?,
            false => say(format_args!("{place}")),
        }
        Ok(())
    }
}

/// Start and length of a part; a number outside the file has length zero.
fn part_range(state: &PutState, number: u32) -> (u64, u64) {
    let start = u64::from(number).saturating_sub(1).saturating_mul(state.part_len).min(state.len);
    (start, state.part_len.min(state.len - start))
}

type NamedFile = (PathBuf, Result<String>);

/// All files under `root` with their names relative to it. Links to files are followed, links to directories are not:
/// they may lead in circles.
pub(super) fn files_under(root: &Path) -> Result<Vec<NamedFile>> {
    let mut files = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        let mut entries: Vec<_> = std::fs::read_dir(&dir)
            .and_then(|entries| entries.collect::<std::io::Result<_>>())
            .with_context(|| format!("cannot read the directory {}", dir.display()))?;
        entries.sort_unstable_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                dirs.push(path);
            } else if std::fs::metadata(&path).is_ok_and(|found| found.is_file()) {
                let name = path.strip_prefix(root).expect("found under root").to_str().map(str::to_owned);
                let unnameable = || failure("the name is not UTF-8 and cannot be a key", "rename the file");
                files.push((path, name.ok_or_else(unnameable)));
            } else {
                tracing::warn!("{}: skipped, it is no file and no directory", path.display());
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_file_exactly() {
        for (len, part_len) in [(1, 4), (4, 4), (5, 4), (11, 4), (12, 4)] {
            let root = tempfile::tempdir().unwrap();
            let source = root.path().join("f");
            std::fs::write(&source, vec![0; len]).unwrap();
            let state = PutState::new(&source, &std::fs::metadata(&source).unwrap(), part_len, "id".into());
            let count = (len as u64).div_ceil(part_len) as u32;
            let ranges: Vec<_> = (1..=count).map(|number| part_range(&state, number)).collect();
            assert_eq!(ranges.iter().map(|(_, len)| len).sum::<u64>(), len as u64);
            assert!(ranges.windows(2).all(|pair| pair[0].0 + pair[0].1 == pair[1].0), "{ranges:?}");
            assert_eq!(part_range(&state, count + 1).1, 0);
            assert_eq!(part_range(&state, u32::MAX).1, 0);
        }
    }

    #[test]
    fn a_walk_finds_files_in_all_directories_and_no_circles() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("a/b c")).unwrap();
        std::fs::write(root.path().join("a/b c/ü"), b"1").unwrap();
        std::fs::write(root.path().join("z"), b"2").unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("a/circle")).unwrap();
        std::os::unix::fs::symlink(root.path().join("z"), root.path().join("link")).unwrap();
        let mut names: Vec<String> = files_under(root.path()).unwrap().into_iter().map(|(_, name)| name.unwrap()).collect();
        names.sort();
        assert_eq!(names, ["a/b c/ü", "link", "z"]);
    }

    #[test]
    fn a_key_that_ends_in_a_slash_gets_the_name() {
        for (target, source, key) in [("b", "x/f", "f"), ("b/", "f", "f"), ("b/d/", "f", "d/f"), ("b/d", "f", "d")] {
            assert_eq!(named(&Place::parse(target).unwrap(), Path::new(source)).unwrap().key, key, "{target}");
        }
        assert!(named(&Place::parse("b").unwrap(), Path::new("..")).is_err());
    }
}
