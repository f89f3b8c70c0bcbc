//! Compiles the .proto files with protox, so that no protoc has to be installed.

fn main() {
    let files = ["proto/shard.proto", "proto/advert.proto"];
    for file in files {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["proto"]).expect("the .proto files are part of this crate");
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors).expect("OUT_DIR is writable");
}
