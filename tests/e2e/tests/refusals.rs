//! Who may not come in: wrong, revoked, missing and expired credentials, and what a refusal leaves behind.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_e2e::{Body, Localnet, S3, cli};

fn status(s3: &S3, method: &str, key: &str, body: Body<'_>) -> Result<(u16, String)> {
    let answer = s3.send(method, "door", key, &[], &[], body)?;
    Ok((answer.status, answer.text()?))
}

#[test]
fn only_known_keys_come_in_and_a_revoked_one_is_refused_from_then_on() -> Result<()> {
    let net = Localnet::start(4)?;
    let owner = net.s3()?;
    owner.create_bucket("door")?;
    owner.put("door", "inside", b"hello")?;
    let ready = net.ready();
    let strangers = [
        ("a wrong secret", owner.with_keys(&ready.access_key, "wrong-secret"), "SignatureDoesNotMatch"),
        ("an unknown key", owner.with_keys("CAIRNUNKNOWNKEY", &ready.secret_key), "InvalidAccessKeyId"),
    ];
    for (who, s3, code) in &strangers {
        for (method, key) in [("GET", "inside"), ("PUT", "new"), ("DELETE", "inside"), ("GET", "")] {
            let body = if method == "PUT" { Body::Bytes(b"x") } else { Body::Empty };
            let (status, said) = status(s3, method, key, body)?;
            ensure!(status == 403 && said.contains(code), "{who}, {method} {key:?}: {status} {said}");
        }
    }

    let made = cli::json(&net, &["key", "create", "--label", "guest"])?;
    let part = |name: &str| {
        made.get(name).and_then(|value| value.as_str()).map(String::from).with_context(|| format!("no {name} in {made}"))
    };
    let (access_key, secret_key) = (part("access_key")?, part("secret_key")?);
    let guest = owner.with_keys(&access_key, &secret_key);
    guest.put("door", "by guest", b"from the guest")?;
    ensure!(guest.get("door", "inside")? == b"hello", "another key of the account reads other bytes");
    let listed = cli::text(&net, &["key", "list"])?;
    ensure!(listed.contains(&access_key) && !listed.contains(&secret_key), "key list: {listed}");
    cli::text(&net, &["key", "revoke", &access_key])?;
    for (method, key) in [("GET", "inside"), ("PUT", "late"), ("GET", "")] {
        let body = if method == "PUT" { Body::Bytes(b"x") } else { Body::Empty };
        let (status, said) = status(&guest, method, key, body)?;
        ensure!(status == 403, "revoked, {method} {key:?}: {status} {said}");
    }
    ensure!(owner.list("door")? == ["by guest", "inside"], "a refused request changed the bucket: {:?}", owner.list("door")?);
    Ok(())
}

#[test]
fn a_limited_key_stays_limited_after_a_restart() -> Result<()> {
    let mut net = Localnet::start(4)?;
    let owner = net.s3()?;
    owner.create_bucket("door")?;
    owner.put("door", "in/a", b"hello")?;
    owner.put("door", "out", b"closed")?;
    let flags = ["--bucket", "door", "--prefix", "in/", "--read-only", "--expires", "1h"];
    let key = |flags: &[&str]| -> Result<(String, String)> {
        let made = cli::json(&net, &[&["key", "create"], flags].concat())?;
        let part = |name: &str| made[name].as_str().map(String::from).with_context(|| format!("no {name} in {made}"));
        Ok((part("access_key")?, part("secret_key")?))
    };
    let (limited, ann) = (key(&flags)?, key(&["--user", "ann"])?);
    ensure!(cli::code(&net, &["key", "create", "--prefix", "in/"])? == 2, "a prefix without a bucket");
    let listed = cli::text(&net, &["key", "list"])?;
    ensure!(listed.contains("bucket door  prefix in/  read-only  until ") && listed.contains("user ann"), "{listed}");
    for restarted in [false, true] {
        if restarted {
            net.kill_gateway()?;
            net.restart_gateway()?;
        }
        let owner = net.s3()?;
        let (limited, ann) = (owner.with_keys(&limited.0, &limited.1), owner.with_keys(&ann.0, &ann.1));
        ensure!(limited.get("door", "in/a")? == b"hello", "what it opens");
        for (who, s3, method, key) in [
            ("limited", &limited, "GET", "out"),
            ("limited", &limited, "PUT", "in/b"),
            ("limited", &limited, "DELETE", "in/a"),
            ("ann", &ann, "GET", "in/a"),
            ("ann", &ann, "GET", ""),
        ] {
            let body = if method == "PUT" { Body::Bytes(b"x") } else { Body::Empty };
            let (status, said) = status(s3, method, key, body)?;
            ensure!(status == 403, "{who}, {method} {key:?}: {status} {said}");
        }
    }
    Ok(())
}

#[test]
fn a_request_without_a_signature_is_refused() -> Result<()> {
    let net = Localnet::start(4)?;
    net.s3()?.create_bucket("door")?;
    net.s3()?.put("door", "inside", b"hello")?;
    for request in ["GET /door/inside", "GET /door", "GET /", "PUT /door/new", "DELETE /door/inside"] {
        let said =
            raw(&net, &format!("{request} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))?;
        ensure!(said.starts_with("HTTP/1.1 403"), "{request}: {said}");
    }
    ensure!(net.s3()?.list("door")? == ["inside"], "an unsigned request changed the bucket");
    Ok(())
}

#[test]
fn a_put_that_breaks_off_leaves_nothing_visible_and_gives_its_space_back() -> Result<()> {
    struct BreaksOff(u64);
    impl Read for BreaksOff {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let len = self.0.min(buffer.len() as u64) as usize;
            self.0 -= len as u64;
            buffer[..len].fill(7);
            if len == 0 { Err(std::io::Error::other("the client went away")) } else { Ok(len) }
        }
    }
    let net = Localnet::start(8)?;
    let s3 = net.s3()?;
    s3.create_bucket("door")?;
    s3.put("door", "stays", &[1; 100_000])?;
    let before = net.settled_used()?;
    for sent in [0u64, 1000, 3 << 20, 100 << 20] {
        let mut body = BreaksOff(sent);
        let answer = s3.send("PUT", "door", "broken", &[], &[], Body::Reader(&mut body, 200 << 20));
        ensure!(!matches!(&answer, Ok(answer) if answer.status == 200), "a broken-off PUT was acknowledged");
    }
    ensure!(s3.list("door")? == ["stays"], "a broken-off PUT is visible: {:?}", s3.list("door")?);
    net.wait_for_space(&before, 0)
}

fn raw(net: &Localnet, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(net.ready().endpoint.trim_start_matches("http://"))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(request.as_bytes())?;
    let mut said = Vec::new();
    stream.read_to_end(&mut said)?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}
