//! Metrics as messages of OTLP: sums and gauges as they stand, since the process began.

use crate::metrics::{Family, Kind, Metrics, Number, Point, Value};
use crate::otlp::proto::common::v1::KeyValue;
use crate::otlp::proto::metrics::v1::metric::Data;
use crate::otlp::proto::metrics::v1::number_data_point::Value as PointValue;
use crate::otlp::proto::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};
use crate::process;
use crate::trace::attribute;

/// Every family that has a point.
pub(super) fn encode(metrics: Metrics) -> Vec<Metric> {
    let (start, now) = (process::began_ns(), process::now_ns());
    let families = metrics.into_families().into_iter().filter(|family| !family.points.is_empty());
    families.map(|family| encode_family(family, start, now)).collect()
}

fn encode_family(family: Family, start: u64, now: u64) -> Metric {
    let Family { instrument, unit, kind, help, points, .. } = family;
    let temporality = AggregationTemporality::Cumulative.into();
    let data = match kind {
        Kind::Counter => Data::Sum(Sum {
            data_points: points.iter().filter_map(|point| number(point, start, now)).collect(),
            aggregation_temporality: temporality,
            is_monotonic: true,
        }),
        Kind::Gauge => Data::Gauge(Gauge {
            data_points: points.iter().filter_map(|point| number(point, 0, now)).collect(),
        }),
        Kind::Histogram => Data::Histogram(Histogram {
            data_points: points.into_iter().filter_map(|point| distribution(point, start, now)).collect(),
            aggregation_temporality: temporality,
        }),
    };
    Metric {
        name: instrument,
        description: help.into_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..Metric::default()
    }
}

fn attributes(point: &Point) -> Vec<KeyValue> {
    point.labels.iter().map(|(key, text)| attribute(key, text)).collect()
}

fn number(point: &Point, start: u64, now: u64) -> Option<NumberDataPoint> {
    let attributes = attributes(point);
    let Value::Number(number) = point.value else { return None };
    let value = match number {
        Number::Whole(number) => PointValue::AsInt(number),
        Number::Real(number) => PointValue::AsDouble(number),
    };
    Some(NumberDataPoint {
        attributes,
        start_time_unix_nano: start,
        time_unix_nano: now,
        value: Some(value),
        ..NumberDataPoint::default()
    })
}

fn distribution(point: Point, start: u64, now: u64) -> Option<HistogramDataPoint> {
    let attributes = attributes(&point);
    let Value::Distribution(values) = point.value else { return None };
    Some(HistogramDataPoint {
        attributes,
        start_time_unix_nano: start,
        time_unix_nano: now,
        count: values.counts.iter().sum(),
        sum: Some(values.sum),
        bucket_counts: values.counts,
        explicit_bounds: values.bounds.to_vec(),
        ..HistogramDataPoint::default()
    })
}
