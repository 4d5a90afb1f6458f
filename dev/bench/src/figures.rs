//! Medians over rounds, and ratios.

use hdrhistogram::Histogram;

/// What one round saw of one row and target.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    /// Calls per second, closed loop, at 1, 16 and 64 connections.
    pub(crate) per_s: [f64; 3],
    /// Microseconds at the fixed rate, from the intended moment of sending: p50, p99, p99.9.
    pub(crate) latency_us: [f64; 3],
    /// CPU microseconds of the proxy per call at the fixed rate; none when there is no proxy.
    pub(crate) cpu_fixed_us: Option<f64>,
    /// The same in the closed loop at 16 connections.
    pub(crate) cpu_closed_us: Option<f64>,
    /// Resident memory of the proxy after the row, in KiB.
    pub(crate) resident_kib: Option<f64>,
}

/// p50, p99 and p99.9 in microseconds.
pub(crate) fn percentiles_us(latency_ns: &Histogram<u64>) -> [f64; 3] {
    #[expect(clippy::cast_precision_loss, reason = "latencies are far below 2^52 ns")]
    [0.5, 0.99, 0.999].map(|quantile| latency_ns.value_at_quantile(quantile) as f64 / 1_000.0)
}

/// The middle figure of the rounds, each figure on its own; none without rounds.
pub(crate) fn median(rounds: &[Figures]) -> Option<Figures> {
    if rounds.is_empty() {
        return None;
    }
    let of = |figure: &dyn Fn(&Figures) -> Option<f64>| middle(rounds.iter().filter_map(figure).collect());
    let each = |figures: &dyn Fn(&Figures) -> [f64; 3]| {
        [0, 1, 2].map(|at| of(&|round| Some(figures(round)[at])).unwrap_or_default())
    };
    Some(Figures {
        per_s: each(&|round| round.per_s),
        latency_us: each(&|round| round.latency_us),
        cpu_fixed_us: of(&|round| round.cpu_fixed_us),
        cpu_closed_us: of(&|round| round.cpu_closed_us),
        resident_kib: of(&|round| round.resident_kib),
    })
}

/// The middle one, or the mean of the middle two.
pub(crate) fn middle(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[half]),
        _ => Some(f64::midpoint(values[half - 1], values[half])),
    }
}

/// How many times `base` fits; none without a sensible base.
pub(crate) fn ratio(value: Option<f64>, base: Option<f64>) -> Option<f64> {
    match (value, base) {
        (Some(value), Some(base)) if base > 0.0 => Some(value / base),
        _ => None,
    }
}

/// Slope of the straight line nearest to the points, in units of y per unit of x; none below two points.
pub(crate) fn slope(points: &[(f64, f64)]) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a run has few points")]
    let count = points.len() as f64;
    let mean_x = points.iter().map(|point| point.0).sum::<f64>() / count;
    let mean_y = points.iter().map(|point| point.1).sum::<f64>() / count;
    let spread: f64 = points.iter().map(|point| (point.0 - mean_x).powi(2)).sum();
    let together: f64 = points.iter().map(|point| (point.0 - mean_x) * (point.1 - mean_y)).sum();
    (spread > 0.0).then(|| together / spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-9
    }

    #[test]
    fn the_median_ignores_one_bad_round() {
        let round = |value: f64| Figures {
            per_s: [value, 2.0 * value, 3.0 * value],
            cpu_fixed_us: Some(value),
            ..Figures::default()
        };
        let median = median(&[round(1.0), round(900.0), round(2.0)]).unwrap();
        assert!(near(median.per_s[2], 6.0));
        assert_eq!(median.cpu_fixed_us, Some(2.0));
        assert_eq!(median.cpu_closed_us, None);
        assert_eq!(middle(vec![4.0, 1.0]), Some(2.5));
        assert_eq!(super::median(&[]), None);
    }

    #[test]
    fn ratios_need_a_base() {
        assert_eq!(ratio(Some(3.0), Some(2.0)), Some(1.5));
        assert_eq!(ratio(Some(3.0), Some(0.0)), None);
        assert_eq!(ratio(None, Some(1.0)), None);
    }

    #[test]
    fn percentiles_come_from_the_right_end() {
        let mut histogram = Histogram::new_with_bounds(1_000, 60_000_000_000, 3).unwrap();
        for micros in 1..=1_000_u64 {
            histogram.record(micros * 1_000).unwrap();
        }
        let [p50, p99, p999] = percentiles_us(&histogram);
        assert!((499.0..=502.0).contains(&p50) && (989.0..=992.0).contains(&p99) && p999 >= 998.0);
    }

    #[test]
    fn a_line_has_its_slope() {
        let line: Vec<(f64, f64)> = (0..10).map(|x| (f64::from(x), 5.0 + 3.0 * f64::from(x))).collect();
        assert!(near(slope(&line).unwrap(), 3.0));
        assert_eq!(slope(&line[..1]), None);
    }
}
