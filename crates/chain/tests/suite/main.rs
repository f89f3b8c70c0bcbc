//! The ledger against a chain: the same scenarios on the embedded chain and on anvil, and what only one of them can show.
//!
//! Anvil is the program that `CAIRN_ANVIL` names; `CAIRN_NO_ANVIL=1` says aloud that there is none. Never: skips anvil silently.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod abi;
mod channels;
mod court;
mod credits;
mod deployer;
mod faults;
mod once;
mod providers;
mod proxy;
mod reorg;
mod rpc;
mod world;

/// Each scenario becomes a test on the embedded chain and one on anvil.
#[macro_export]
macro_rules! on_both {
    ($($scenario:ident),+ $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                super::$scenario($crate::world::World::embedded().await).await;
            })+
        }
        mod anvil {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $scenario() {
                if let Some(world) = $crate::world::World::anvil().await {
                    super::$scenario(world).await;
                }
            })+
        }
    };
}
