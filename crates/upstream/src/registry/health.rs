//! What looks at the replicas of a server beside all requests: checks of each, where they are configured, and the comparison
//! of several with each other. Both begin when the server is first asked for.

use std::sync::{Arc, Weak};

use super::Registry;
use crate::backoff::Backoff;
use crate::circuit::Standing;
use crate::greet::looks_alive;
use crate::replicas::Gate;
use crate::{HealthSettings, OutlierSettings, UpstreamError};

impl Registry {
    /// Begins what there is to begin.
    pub(super) fn start_looking(self: &Arc<Self>) {
        let gates = self.gates().len();
        if let Some(health) = &self.shared.settings.health {
            for number in 0..gates {
                let checks = checks(Arc::downgrade(self), number, health.clone());
                let stop = self.stop.clone();
                tokio::spawn(async move { stop.run_until_cancelled(checks).await });
            }
        }
        if let Some(outliers) = &self.shared.settings.circuit.outliers
            && gates > 1
        {
            let comparing = compare(Arc::downgrade(self), outliers.clone());
            let stop = self.stop.clone();
            tokio::spawn(async move { stop.run_until_cancelled(comparing).await });
        }
    }
}

/// Checks one replica again and again.
async fn checks(registry: Weak<Registry>, number: usize, health: HealthSettings) {
    let pause = Backoff::new(health.interval, health.interval);
    let (mut good, mut bad) = (0_u32, 0_u32);
    loop {
        tokio::time::sleep(pause.after(1)).await;
        let Some(registry) = registry.upgrade() else { return };
        let Some(gate) = registry.gates().get(number) else { return };
        if registry.is_halted() {
            continue;
        }
        match check(gate, &health).await {
            Ok(()) => {
                (good, bad) = (good.saturating_add(1), 0);
                if good >= health.healthy_after {
                    gate.replica().acquit();
                }
                if matches!(gate.replica().circuit.standing(), Standing::Open) {
                    registry.look(gate);
                }
            }
            Err(error) => {
                (good, bad) = (0, bad.saturating_add(1));
                if bad >= health.unhealthy_after && gate.replica().condemn(&error) {
                    gate.leave();
                }
            }
        }
    }
}

async fn check(gate: &Gate, health: &HealthSettings) -> Result<(), UpstreamError> {
    match &health.path {
        Some(path) => gate.site.is_well(path, health.timeout).await,
        None => looks_alive(&gate.site, health.timeout).await,
    }
}

/// How many requests a replica has answered, and how many not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Score {
    answered: u64,
    failed: u64,
}

impl Score {
    fn of(gate: &Gate) -> Self {
        Self { answered: gate.replica().answered.get(), failed: gate.replica().failed.get() }
    }

    fn since(self, before: Self) -> Self {
        Self {
            answered: self.answered.saturating_sub(before.answered),
            failed: self.failed.saturating_sub(before.failed),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self { answered: self.answered + other.answered, failed: self.failed + other.failed }
    }

    fn requests(self) -> u64 {
        self.answered + self.failed
    }

    /// Whether it has had enough to say something of it, and answered less of it than the others, by more than the margin.
    fn is_outlier(self, others: Self, settings: &OutlierSettings) -> bool {
        let enough = settings.requests_min.max(1);
        if self.requests() < enough || others.requests() < enough {
            return false;
        }
        let percent = |score: Self| {
            u128::from(score.answered) * 100 * u128::from(u32::MAX) / u128::from(score.requests())
        };
        percent(self) + u128::from(settings.margin_percent) * u128::from(u32::MAX) < percent(others)
    }
}

/// Compares the replicas again and again, and leaves alone which does worse than the others.
async fn compare(registry: Weak<Registry>, settings: OutlierSettings) {
    let mut before = Vec::new();
    loop {
        tokio::time::sleep(settings.interval).await;
        let Some(registry) = registry.upgrade() else { return };
        let now: Vec<Score> = registry.gates().iter().map(Score::of).collect();
        before.resize(now.len(), Score::default());
        let scores: Vec<Score> = now.iter().zip(&before).map(|(now, before)| now.since(*before)).collect();
        before = now;
        leave_outliers(registry.gates(), &scores, &settings);
    }
}

fn leave_outliers(gates: &[Gate], scores: &[Score], settings: &OutlierSettings) {
    let all = scores.iter().fold(Score::default(), |all, score| all.plus(*score));
    for (gate, score) in gates.iter().zip(scores) {
        if gate.replica().circuit.standing() == Standing::Closed
            && score.is_outlier(all.since(*score), settings)
        {
            let detail = format!("{} of {} requests were answered", score.answered, score.requests());
            let error = UpstreamError::unavailable("the server leaves many requests unanswered", detail);
            if gate.replica().is_outlier(&error) {
                gate.leave();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outlier_does_worse_than_the_others_together_by_more_than_the_margin() {
        let settings = OutlierSettings { requests_min: 20, margin_percent: 30, ..OutlierSettings::default() };
        let is_outlier = |(answered, failed), others: (u64, u64)| {
            let others = Score { answered: others.0, failed: others.1 };
            Score { answered, failed }.is_outlier(others, &settings)
        };
        assert!(is_outlier((69, 31), (100, 0)));
        assert!(!is_outlier((70, 30), (100, 0)), "at the margin");
        assert!(!is_outlier((0, 100), (20, 80)), "where all do badly, none is left alone for it");
        assert!(!is_outlier((0, 19), (100, 0)), "too few to say");
        assert!(!is_outlier((0, 100), (19, 0)), "too few to compare with");
        assert!(!is_outlier((100, 0), (0, 100)));
    }
}
