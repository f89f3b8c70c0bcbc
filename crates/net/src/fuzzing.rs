//! Doors for the fuzz targets in `tests/fuzz`.
//!
//! Never: in a build without `--cfg fuzzing`.

use std::io;
use std::path::Path;

use bytes::Bytes;
use cairn_proto::Advert;
use cairn_types::UnixMs;
use futures::io::{AsyncRead, AsyncWrite};
use libp2p::Multiaddr;

use crate::{address, advert_exchange, adverts, book};

/// One side of an advert exchange.
pub async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, own: Option<Bytes>) -> io::Result<Option<Vec<u8>>> {
    advert_exchange::swap(stream, own).await
}

/// A record of the DHT; `None` when it is refused.
pub fn record(key: &[u8], value: &[u8], now: UnixMs) -> Option<Advert> {
    adverts::verify_record(key, value, now).ok().map(|verified| verified.advert)
}

/// The addresses of a text and of a binary form that would be dialled.
pub fn dialable(texts: &[String], binary: &[u8], private: bool) -> Vec<String> {
    let parsed = texts.iter().filter_map(|text| text.parse::<Multiaddr>().ok());
    let addresses: Vec<Multiaddr> = parsed.chain(Multiaddr::try_from(binary.to_vec())).collect();
    for address in &addresses {
        let _ = (address::host_name(address), address::transport_of(address));
    }
    address::dialable_all(&addresses, private).iter().map(Multiaddr::to_string).collect()
}

/// Reads an address book, writes it, and reads it again: peers with their addresses, before and after.
pub fn book(path: &Path, private: bool) -> [Vec<(String, Vec<String>)>; 2] {
    let plain = |entries: &[book::Entry]| {
        let texts = |entry: &book::Entry| entry.addresses.iter().map(Multiaddr::to_string).collect();
        entries.iter().map(|entry| (entry.node.to_string(), texts(entry))).collect()
    };
    let read = book::load(path, private);
    let before = plain(&read);
    book::save(path, read).expect("a good disk");
    [before, plain(&book::load(path, private))]
}
