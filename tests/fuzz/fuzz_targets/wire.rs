//! Frames and the messages in them, as a hostile peer may send them on a shard stream.
#![no_main]

use cairn_proto::shard::{Request, Response};
use cairn_proto::{Frame, Framed};
use futures::executor::block_on;
use futures::io::Cursor;
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|bytes: &[u8]| {
    let mut framed = Framed::new(Cursor::new(bytes));
    while let Ok(Some(frame)) = block_on(framed.next()) {
        if let Frame::Control(payload) = frame {
            if let Ok(request) = Request::decode(payload.clone()) {
                assert_eq!(Request::decode(&request.encode_to_vec()[..]), Ok(request));
            }
            if let Ok(response) = Response::decode(payload) {
                assert_eq!(Response::decode(&response.encode_to_vec()[..]), Ok(response));
            }
        }
    }
});
