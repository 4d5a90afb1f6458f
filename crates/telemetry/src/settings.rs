//! What is told, and to whom.

/// Which calls are traced.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// The share of calls, 0 to 1.
    pub ratio: f64,
    /// Whether a caller that traces a call itself, or says that it does not, decides.
    pub respects_parent: bool,
}

impl Default for Sampler {
    fn default() -> Self {
        Self { ratio: 0.01, respects_parent: true }
    }
}
