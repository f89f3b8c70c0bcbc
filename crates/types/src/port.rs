//! Ports to the world that a simulation replaces: time and randomness.
//!
//! Never: read a clock or draw a byte here; only say how.

/// Milliseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct UnixMs(pub u64);

impl UnixMs {
    /// This moment plus `ms`, saturating at the end of time.
    pub fn plus_ms(self, ms: u64) -> UnixMs {
        UnixMs(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; zero when `earlier` is later.
    pub fn since_ms(self, earlier: UnixMs) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl UnixMs {
    /// This moment in whole seconds, rounded down: what contracts count in.
    pub fn secs(self) -> UnixSecs {
        UnixSecs(self.0 / 1000)
    }
}

/// Seconds since the Unix epoch, UTC: what contracts count in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct UnixSecs(pub u64);

impl UnixSecs {
    /// This moment plus `secs`, saturating at the end of time.
    pub fn plus_secs(self, secs: u64) -> UnixSecs {
        UnixSecs(self.0.saturating_add(secs))
    }

    /// Seconds from `earlier` to this moment; zero when `earlier` is later.
    pub fn since_secs(self, earlier: UnixSecs) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Wall clock.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> UnixMs;
}

/// Random source, fit for keys.
pub trait Rng: Send + Sync + 'static {
    /// Fills `bytes` with random bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// Draws a fixed-width random array.
pub fn draw<const LEN: usize>(rng: &dyn Rng) -> [u8; LEN] {
    let mut bytes = [0u8; LEN];
    rng.fill(&mut bytes);
    bytes
}
