//! A manifest as it comes from the catalog's disk or a hostile pack.
#![no_main]

use cairn_coding::{Layout, Manifest};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(manifest) = Manifest::decode(bytes) else { return };
    for segment in &manifest.segments {
        let layout = Layout::new(segment.redundancy, segment.plain_len).expect("decode refuses other lengths");
        assert_eq!(segment.shards.len(), layout.redundancy().total());
        assert_eq!(layout.frames_for(0..u64::MAX), 0..layout.frame_count());
    }
    assert!(manifest.plain_len() < u64::MAX);
    let encoded = manifest.encode();
    assert_eq!(Manifest::decode(&encoded).as_ref(), Ok(&manifest));
    assert_eq!(Manifest::decode(&encoded).map(|manifest| manifest.encode()), Ok(encoded));
});
