//! The S3 tools that people use, run as they run them: from the set-up script's environment, with nothing read from the user's home.
//!
//! Never: treats a missing tool as a pass. Limits: each run has a deadline.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::localnet::Ready;
use crate::proc::wait_until;

const RUN_SECONDS_MAX: u64 = 900;

/// Runs tools against one network.
pub struct Tools {
    ready: Ready,
    home: PathBuf,
}

impl Tools {
    /// Tools with `home` as their home directory and keys from the ready line.
    pub fn new(ready: &Ready, home: &Path) -> Result<Self> {
        std::fs::create_dir_all(home)?;
        Ok(Self { ready: ready.clone(), home: home.to_path_buf() })
    }

    /// Runs `program` to its end and gives its standard output; a failure shows both outputs.
    pub fn run<S: AsRef<OsStr>>(&self, program: &str, args: impl IntoIterator<Item = S>) -> Result<String> {
        let path = find(program)?;
        let outputs = tempfile::tempdir()?;
        let (out, err) = (outputs.path().join("out"), outputs.path().join("err"));
        let mut child = Command::new(&path)
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LANG", "C.UTF-8")
            .env("HOME", &self.home)
            .env("AWS_ACCESS_KEY_ID", &self.ready.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &self.ready.secret_key)
            .env("AWS_DEFAULT_REGION", &self.ready.region)
            .env("AWS_ENDPOINT_URL", &self.ready.endpoint)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_PAGER", "")
            // A retry would hide what the first answer was.
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("RCLONE_CONFIG", self.home.join("rclone.conf"))
            .env("RCLONE_CONFIG_CAIRN_TYPE", "s3")
            .env("RCLONE_CONFIG_CAIRN_PROVIDER", "Other")
            .env("RCLONE_CONFIG_CAIRN_ENDPOINT", &self.ready.endpoint)
            .env("RCLONE_CONFIG_CAIRN_REGION", &self.ready.region)
            .env("RCLONE_CONFIG_CAIRN_ACCESS_KEY_ID", &self.ready.access_key)
            .env("RCLONE_CONFIG_CAIRN_SECRET_ACCESS_KEY", &self.ready.secret_key)
            .env("RESTIC_PASSWORD", "correct horse battery staple")
            .env("RESTIC_CACHE_DIR", self.home.join("restic-cache"))
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&out)?)
            .stderr(std::fs::File::create(&err)?)
            .spawn()
            .with_context(|| format!("start {}", path.display()))?;
        let status = wait_until(&format!("{program} to end"), Duration::from_secs(RUN_SECONDS_MAX), || Ok(child.try_wait()?));
        if status.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let (out, err) = (crate::localnet::text_of(&out), crate::localnet::text_of(&err));
        let status = status.with_context(|| format!("{out}\n{err}"))?;
        ensure!(status.success(), "{program} ended with {status}\n{out}\n{err}");
        Ok(out)
    }

    /// `aws s3 …`, quiet unless it fails.
    pub fn aws(&self, args: &[&str]) -> Result<String> {
        self.run("aws", ["s3"].iter().chain(args))
    }

    /// A Python script of `tests/e2e/scripts`, run by the interpreter that has boto3.
    pub fn python(&self, script: &str, args: &[&str]) -> Result<String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(script);
        self.run("python", [script.as_os_str()].into_iter().chain(args.iter().map(|arg| OsStr::new(*arg))))
    }

    /// A script of `tests/e2e/js`, run by Node.js with the packages of its lock file.
    pub fn node(&self, script: &str, args: &[&str]) -> Result<String> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("js");
        ensure!(dir.join("node_modules").is_dir(), "the packages of tests/e2e/js are missing: run scripts/setup");
        self.run("node", [dir.join(script).as_os_str()].into_iter().chain(args.iter().map(|arg| OsStr::new(*arg))))
    }

    /// `duplicity …`, unencrypted, in small volumes.
    pub fn duplicity(&self, args: &[&str]) -> Result<String> {
        let fixed = ["--no-encryption", "--volsize=10", "--s3-endpoint-url", &self.ready.endpoint];
        self.run("duplicity", args.iter().chain(&fixed))
    }

    /// Mounts a bucket at `dir` with s3fs, until what is given back is dropped.
    pub fn mount(&self, bucket: &str, dir: &Path) -> Result<Mount> {
        std::fs::create_dir_all(dir)?;
        let url = format!("url={}", self.ready.endpoint);
        let region = format!("endpoint={}", self.ready.region);
        let at = dir.to_str().context("temporary paths are UTF-8")?;
        let options = ["-o", &url, "-o", &region, "-o", "use_path_request_style", "-o", "retries=1", "-o", "multipart_size=5"];
        self.run("s3fs", [bucket, at].iter().chain(&options))?;
        Ok(Mount(dir.to_path_buf()))
    }

    /// `restic …` with the repository in a bucket.
    pub fn restic(&self, bucket: &str, args: &[&str]) -> Result<String> {
        let repository = format!("s3:{}/{bucket}/backup", self.ready.endpoint);
        let fixed = ["-o", "s3.bucket-lookup=path", "-r", &repository];
        self.run("restic", fixed.iter().chain(args))
    }

    /// `s3cmd …`, configured by flags alone.
    pub fn s3cmd(&self, args: &[&str]) -> Result<String> {
        let host = self.ready.endpoint.trim_start_matches("http://").to_string();
        let flags = [
            "--config=/dev/null".to_string(),
            "--no-ssl".into(),
            "--no-progress".into(),
            format!("--host={host}"),
            format!("--host-bucket={host}"),
            format!("--region={}", self.ready.region),
            format!("--access_key={}", self.ready.access_key),
            format!("--secret_key={}", self.ready.secret_key),
        ];
        self.run("s3cmd", flags.iter().map(String::as_str).chain(args.iter().copied()))
    }
}

/// A mounted bucket.
pub struct Mount(PathBuf);

impl Drop for Mount {
    fn drop(&mut self) {
        // Waits for what is still being written; a mount that stays would outlive its gateway.
        if !Command::new("umount").arg(&self.0).status().is_ok_and(|status| status.success()) {
            let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
        }
    }
}

/// The set-up script's environment first (`CAIRN_TOOLS`), then the PATH.
fn find(program: &str) -> Result<PathBuf> {
    let tools = match std::env::var_os("CAIRN_TOOLS") {
        Some(dir) => PathBuf::from(dir),
        None => {
            let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
            let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
            cache.or_else(home).context("HOME is not set")?.join("cairn/venv")
        }
    };
    let dirs = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect::<Vec<_>>();
    let mut candidates = std::iter::once(tools.join("bin")).chain(dirs).map(|dir| dir.join(program));
    candidates.find(|path| path.is_file()).with_context(|| format!("{program} is missing: run scripts/setup"))
}
