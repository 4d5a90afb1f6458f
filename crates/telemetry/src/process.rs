//! What the operating system says of this process, and what it is.

use std::fs;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::metrics::{Kind, Metrics, Point, Value};

/// Ticks in a second, in which the kernel tells user space of time on every platform that is served.
const TICKS: f64 = 100.0;

/// When the process began, as far as its metrics are concerned: in nanoseconds since 1970-01-01T00:00:00Z.
pub(crate) fn began_ns() -> u64 {
    static BEGAN: OnceLock<u64> = OnceLock::new();
    *BEGAN.get_or_init(now_ns)
}

/// Now, in nanoseconds since 1970-01-01T00:00:00Z.
pub(crate) fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Writes what is known. What the system does not say is left out.
pub(crate) fn write(metrics: &mut Metrics) {
    let name = "tollgate_build_info";
    metrics.family(name, "gauge", "Always 1; what is running stands in the labels.");
    metrics.number(name, &[("version", env!("CARGO_PKG_VERSION"))], 1);

    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the command, in brackets, may have anything in it.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let field = |nth: usize| fields.get(nth - 3).and_then(|text| text.parse::<f64>().ok());
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<f64>().ok().map(|kib| kib * 1024.0)
    };
    let mut put = |name, instrument, kind, help, value: Option<f64>| {
        if let Some(value) = value {
            metrics.named(name, instrument, kind, help);
            metrics.point(Point { labels: Vec::new(), value: Value::Number(whole_if_whole(value)) });
        }
    };
    // proc_pid_stat(5): utime, stime, num_threads, starttime.
    let cpu = field(14).zip(field(15)).map(|(user, system)| (user + system) / TICKS);
    let help = "Time that the process has spent on processors.";
    put("process_cpu_seconds_total", ("process.cpu.time", "s"), Kind::Counter, help, cpu);
    let help = "Memory of the process that is in RAM.";
    put("process_resident_memory_bytes", ("process.memory.usage", "By"), Kind::Gauge, help, kib("VmRSS:"));
    let help = "Memory that the process has addresses for.";
    put("process_virtual_memory_bytes", ("process.memory.virtual", "By"), Kind::Gauge, help, kib("VmSize:"));
    let help = "Threads of the process.";
    put("process_threads", ("process.thread.count", "{thread}"), Kind::Gauge, help, field(20));
    let began = boot_time_s().zip(field(22)).map(|(boot, start)| boot + start / TICKS);
    let help = "When the process began, in seconds since 1970-01-01T00:00:00Z.";
    put("process_start_time_seconds", ("process.start_time", "s"), Kind::Gauge, help, began);
    let open = fs::read_dir("/proc/self/fd").ok().map(|files| rate(files.count() as u64));
    let instrument = ("process.unix.file_descriptor.count", "{file_descriptor}");
    put("process_open_fds", instrument, Kind::Gauge, "Open files, connections among them.", open);
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let limit = limit.and_then(|line| line.split_whitespace().next()?.parse().ok());
    let instrument = ("process.unix.file_descriptor.limit", "{file_descriptor}");
    put("process_max_fds", instrument, Kind::Gauge, "How many files may be open at once.", limit);
}

fn whole_if_whole(value: f64) -> crate::metrics::Number {
    #[allow(clippy::cast_possible_truncation, reason = "it is whole and far below the bound")]
    if value.fract() == 0.0 && value.abs() < 9e15 { (value as i64).into() } else { value.into() }
}

#[allow(clippy::cast_precision_loss, reason = "numbers of this size are exact")]
fn rate(number: u64) -> f64 {
    number as f64
}

/// When the machine was started, in seconds since 1970-01-01T00:00:00Z.
fn boot_time_s() -> Option<f64> {
    static BOOT: OnceLock<Option<f64>> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_of_this_process() {
        let mut metrics = Metrics::default();
        write(&mut metrics);
        let text = metrics.into_text();
        let number = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).expect(name);
            line.rsplit(' ').next().expect("a number").parse().expect("a number")
        };
        assert!(number("process_resident_memory_bytes") > 1e6);
        assert!(number("process_virtual_memory_bytes") >= number("process_resident_memory_bytes"));
        assert!(number("process_open_fds") >= 3.0 && number("process_open_fds") <= number("process_max_fds"));
        assert!(number("process_threads") >= 1.0);
        let now = rate(now_ns()) / 1e9;
        let began = number("process_start_time_seconds");
        assert!(began <= now + 2.0 && began > now - 3600.0, "{began} {now}");
    }
}
