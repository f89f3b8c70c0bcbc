//! `cairn get`: one stream into a part file beside the target, continued by range after an interruption, renamed when whole.
//!
//! Never: a target that is only partly there; a key that climbs out of the target directory.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use futures::StreamExt;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use hyper::header::{HeaderValue, IF_MATCH, RANGE};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::progress::Progress;
use super::{FILES_AT_ONCE, Place, dialer, page, standard, stat_object};
use crate::args;
use crate::outcome::{ExitCode, coded, failure, report, say, say_json};
use crate::socket::{Dialer, empty, request};

const FILE_NAME_LEN_MAX: usize = 255;

/// Runs the command.
pub async fn get(args: args::Get) -> Result<()> {
    let get = Getter { dialer: dialer(&args.socket)?, progress: Progress::start(args.socket.json), json: args.socket.json };
    let done = if args.recursive {
        get.all(&Place::parse(&args.source)?, &args.target.unwrap_or_else(|| PathBuf::from("."))).await
    } else {
        let place = Place::parse_object(&args.source)?;
        match args.target {
            Some(target) if target == Path::new("-") => get.to_stdout(&place).await,
            target => {
                let target = target_of(&place, target)?;
                get.one(&place, &target).await
            }
        }
    };
    get.progress.finish();
    done
}

/// The file to write: the target itself, or the key's last part inside it.
fn target_of(place: &Place, target: Option<PathBuf>) -> Result<PathBuf> {
    match target {
        Some(target) if !target.is_dir() && !target.as_os_str().as_encoded_bytes().ends_with(b"/") => Ok(target),
        target => {
            let name = place.key.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default();
            Ok(target.unwrap_or_default().join(inside(name)?))
        }
    }
}

/// A key as a relative path that stays where it is put.
fn inside(key: &str) -> Result<PathBuf> {
    let path = Path::new(key);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let same = path.components().collect::<PathBuf>().as_os_str().len() == key.len();
    if key.is_empty() || key.contains('\0') || !plain || !same {
        return Err(failure(
            format!("the key {key:?} is no safe file name"),
            "fetch it alone and name the file: cairn get BUCKET/KEY FILE",
        ));
    }
    Ok(path.to_owned())
}

/// The part file of one version of one object, beside its target.
fn part_path(target: &Path, place: &Place, etag: &str) -> PathBuf {
    let hash = hex::encode(&Sha256::digest(format!("{}\0{}\0{etag}", place.bucket, place.key))[..4]);
    let suffix = format!(".{hash}.cairn-part");
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let mut kept = name.len().min(FILE_NAME_LEN_MAX - suffix.len());
    while !name.is_char_boundary(kept) {
        kept -= 1;
    }
    target.with_file_name(format!("{}{suffix}", &name[..kept]))
}

struct Getter {
    dialer: Dialer,
    progress: Progress,
    json: bool,
}

impl Getter {
    async fn all(&self, place: &Place, target: &Path) -> Result<()> {
        let mut cursor = None;
        let (mut found, mut failed) = (0usize, 0usize);
        loop {
            let page = page(&self.dialer, place, "", cursor.as_deref()).await?;
            found += page.objects.len();
            failed += futures::stream::iter(page.objects)
                .map(|object| async move {
                    let fetched = async {
                        // A directory's prefix is not repeated below the target: `b/photos/` gives its content.
                        let cut = place.key.rfind('/').map_or(0, |slash| slash + 1);
                        let path = target.join(inside(&object.key[cut..])?);
                        self.one(&place.with_key(object.key.clone()), &path).await
                    };
                    fetched.await.map_err(|error| tracing::error!("{}: {}", object.key, report(&error)))
                })
                .buffer_unordered(FILES_AT_ONCE)
                .filter(|fetched| futures::future::ready(fetched.is_err()))
                .count()
                .await;
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        match (found, failed) {
            (0, _) => Err(coded(ExitCode::NotFound, format!("there is no object under {place}"), "cairn ls shows what there is")),
            (_, 0) => Ok(()),
            _ => Err(failure(format!("{failed} of {found} objects were not fetched"), "run the same command again")),
        }
    }

    async fn to_stdout(&self, place: &Place) -> Result<()> {
        let response = self.dialer.call(request(Method::GET, &place.path("/v1/object"), empty())?).await?;
        self.copy(response.into_body(), &mut standard(std::io::stdout())?).await
    }

    async fn one(&self, place: &Place, target: &Path) -> Result<()> {
        let info = stat_object(&self.dialer, place).await?;
        let (Some(len), Some(etag)) = (info["len"].as_u64(), info["etag"].as_str()) else {
            return Err(anyhow!("the gateway's answer is not understood"));
        };
        self.progress.expect(&place.key, len);
        if let Some(parent) = target.parent() {
            tokio::fs::create_dir_all(parent).await.with_context(|| format!("cannot make {}", parent.display()))?;
        }
        let part = part_path(target, place, etag);
        let fetched = self.fetch(place, &part, len, etag).await.with_context(|| format!("cannot fetch {place}"));
        fetched?;
        tokio::fs::rename(&part, target).await.with_context(|| format!("cannot rename to {}", target.display()))?;
        self.tell(target, &info)
    }

    async fn fetch(&self, place: &Place, part: &Path, len: u64, etag: &str) -> Result<()> {
        let open = OpenOptions::new().create(true).append(true).open(part).await;
        let mut file: File = open.with_context(|| format!("cannot write {}", part.display()))?;
        let mut have = file.metadata().await?.len();
        if have > len {
            file.set_len(0).await?;
            have = 0;
        }
        self.progress.advance(have);
        if have < len {
            let mut get = request(Method::GET, &place.path("/v1/object"), empty())?;
            get.headers_mut().insert(IF_MATCH, HeaderValue::try_from(format!("\"{etag}\""))?);
            if have > 0 {
                tracing::info!(have, len, "continuing an interrupted get");
                get.headers_mut().insert(RANGE, HeaderValue::try_from(format!("bytes={have}-"))?);
            }
            let response = self.dialer.call(get).await?;
            self.copy(response.into_body(), &mut file).await?;
            let written = file.metadata().await?.len();
            if written != len {
                return Err(failure(
                    format!("{written} of {len} bytes came"),
                    "run the same command again; it goes on from there",
                ));
            }
        }
        file.sync_all().await?;
        Ok(())
    }

    async fn copy(&self, mut body: Incoming, out: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
        while let Some(frame) = body.frame().await {
            let broken = |error| {
                let remedy = "run the same command again; it goes on from there. The gateway's log says more";
                anyhow!(failure(format!("the gateway broke off: {error}"), remedy))
            };
            // What came before the break is kept for the next try.
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => {
                    out.flush().await?;
                    return Err(broken(error));
                }
            };
            if let Ok(bytes) = frame.into_data() {
                self.progress.advance(bytes.len() as u64);
                out.write_all(&bytes).await.context("cannot write")?;
            }
        }
        out.flush().await.context("cannot write")
    }

    fn tell(&self, target: &Path, info: &Value) -> Result<()> {
        match self.json {
            true => {
                let mut info = info.clone();
                info["path"] = json!(target.display().to_string());
                say_json(&info)?;
            }
            false => say(target.display()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_stay_inside_become_paths() {
        for (key, safe) in [
            ("a", true),
            ("a/b c/ü", true),
            ("...", true),
            ("a/..b", true),
            ("..", false),
            ("a/../b", false),
            ("/a", false),
            ("a//b", false),
            ("a/", false),
            ("./a", false),
            ("a/./b", false),
            ("a\0b", false),
            ("", false),
        ] {
            assert_eq!(inside(key).is_ok(), safe, "{key:?}");
        }
    }

    #[test]
    fn part_files_differ_by_version_and_fit_a_directory() {
        let place = Place { bucket: "b".into(), key: "k".into() };
        let (a, b) = (part_path(Path::new("d/f"), &place, "1"), part_path(Path::new("d/f"), &place, "2"));
        assert_ne!(a, b);
        assert!(a.starts_with("d") && a.to_string_lossy().ends_with(".cairn-part"));
        let long = part_path(Path::new(&"ü".repeat(127)), &place, "1");
        assert!(long.file_name().unwrap().len() <= FILE_NAME_LEN_MAX);
    }
}
