//! Results as text.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::options::{Format, Settings};
use crate::quote;

pub(super) const CSV_HEADING: &str = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\
                                      \"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n";

/// What came of one test.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) title: String,
    pub(super) requests: u64,
    pub(super) time: Duration,
    /// Latencies in microseconds.
    pub(super) latencies: Histogram<u64>,
}

impl Outcome {
    fn rate(&self) -> f64 {
        self.requests as f64 / self.time.as_secs_f64().max(1e-9)
    }

    fn average(&self) -> f64 {
        self.latencies.mean() / 1000.0
    }

    /// Milliseconds.
    fn quantile(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1000.0
    }

    fn min(&self) -> f64 {
        self.latencies.min() as f64 / 1000.0
    }

    fn max(&self) -> f64 {
        self.latencies.max() as f64 / 1000.0
    }

    pub(super) fn text(&self, settings: &Settings, format: Format) -> String {
        let digits = settings.precision;
        match format {
            Format::Quiet => format!(
                "{}: {:.2} requests per second, p50={:.digits$} msec\n",
                self.title,
                self.rate(),
                self.quantile(0.5)
            ),
            Format::Csv => {
                let mut title = Vec::new();
                quote::quoted(&mut title, self.title.as_bytes());
                let title = String::from_utf8_lossy(&title);
                let times = [
                    self.average(),
                    self.min(),
                    self.quantile(0.5),
                    self.quantile(0.95),
                    self.quantile(0.99),
                    self.max(),
                ];
                let times: Vec<String> = times.iter().map(|time| format!("\"{time:.3}\"")).collect();
                format!("{title},\"{:.2}\",{}\n", self.rate(), times.join(","))
            }
            Format::Full | Format::Json => self.full(settings),
        }
    }

    fn full(&self, settings: &Settings) -> String {
        let digits = settings.precision;
        let loop_kind = match settings.rate {
            Some(rate) => format!(
                "open loop, {rate} requests per second asked for; latency counts from when each was due"
            ),
            None => "closed loop: each connection waits for its replies".to_owned(),
        };
        let keys = match (settings.keys, settings.zipf) {
            (0, _) => "one key".to_owned(),
            (count, None) => format!("{count} keys, all the same chance"),
            (count, Some(exponent)) => format!("{count} keys, Zipf exponent {exponent}"),
        };
        let mut out = format!(
            "====== {} ======\n  {} requests completed in {:.2} seconds\n  {} parallel clients, {} threads, pipeline of {}\n  \
             {} bytes payload, {keys}\n  {loop_kind}\n\nLatency by percentile distribution:\n",
            self.title,
            self.requests,
            self.time.as_secs_f64(),
            settings.connections,
            settings.threads,
            settings.pipeline,
            settings.value_size,
        );
        for quantile in [0.0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 1.0] {
            out.push_str(&format!(
                "{:>8.3}% <= {:.digits$} milliseconds\n",
                quantile * 100.0,
                self.latencies.value_at_quantile(quantile) as f64 / 1000.0
            ));
        }
        out.push_str(&format!(
            "\nSummary:\n  throughput summary: {:.2} requests per second\n  latency summary (msec):\n{}\n{}\n\n",
            self.rate(),
            ["avg", "min", "p50", "p95", "p99", "max"].map(|name| format!("{name:>10}")).concat(),
            [self.average(), self.min(), self.quantile(0.5), self.quantile(0.95), self.quantile(0.99), self.max()]
                .map(|time| format!("{time:>10.digits$}"))
                .concat(),
        ));
        out
    }

    pub(super) fn json(&self, settings: &Settings) -> String {
        let mut title = Vec::new();
        quote::json(&mut title, self.title.as_bytes());
        let quantiles =
            [("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];
        let quantiles: Vec<String> = quantiles
            .iter()
            .map(|(name, quantile)| format!("\"{name}\":{:.3}", self.quantile(*quantile)))
            .collect();
        format!(
            "{{\"test\":{},\"requests\":{},\"seconds\":{:.6},\"rps\":{:.2},\"connections\":{},\"threads\":{},\"pipeline\":{},\
             \"bytes\":{},\"keys\":{},\"zipf\":{},\"rate\":{},\"seed\":{},\"latency_ms\":{{\"avg\":{:.3},\"min\":{:.3},{},\
             \"max\":{:.3}}}}}",
            String::from_utf8_lossy(&title),
            self.requests,
            self.time.as_secs_f64(),
            self.rate(),
            settings.connections,
            settings.threads,
            settings.pipeline,
            settings.value_size,
            settings.keys,
            optional(settings.zipf),
            optional(settings.rate),
            settings.seed,
            self.average(),
            self.min(),
            quantiles.join(","),
            self.max(),
        )
    }
}

fn optional(number: Option<f64>) -> String {
    number.map_or_else(|| "null".to_owned(), |number| number.to_string())
}
