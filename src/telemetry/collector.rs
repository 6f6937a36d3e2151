//! The collector of traces, over OTLP with HTTP and protobuf. Alone makes requests for telemetry; decides nothing about trying again.

use std::time::Duration;

use actors::domain::Secret;
use actors::traces::Span;
use anyhow::Context;
use hyper_rustls::HttpsConnectorBuilder;
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanExporter as _;

use super::shape::shaped;
use crate::settings::{HttpUrl, Otlp, header};

/// Where traces are taken below the base URL (OTLP specification, section OTLP/HTTP request).
const PATH: &str = "/v1/traces";

/// A collector, by its address.
pub(super) struct Collector {
    exporter: SpanExporter,
    host: String,
    scope: InstrumentationScope,
}

impl Collector {
    /// Connects to nothing yet.
    pub(super) fn new(endpoint: &HttpUrl, otlp: &Otlp, service: &str, instance: String) -> anyhow::Result<Self> {
        let timeout: Duration = otlp.timeout.duration();
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()
            .context("the system has no certificates to know the collector by")?
            .https_or_http()
            .enable_http1()
            .build();
        let headers = otlp.headers.iter().filter_map(header);
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(HyperClient::new(connector, timeout, None))
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(address(endpoint))
            .with_timeout(timeout)
            .with_headers(
                headers
                    .map(|(name, value): (String, Secret)| (name, value.expose().to_owned()))
                    .collect(),
            )
            .build()?;
        let resource = Resource::builder_empty().with_attributes([
            KeyValue::new("service.name", service.to_owned()),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", instance),
        ]);
        exporter.set_resource(&resource.build());
        Ok(Self {
            exporter,
            host: endpoint.url().host_str().unwrap_or_default().to_owned(),
            scope: InstrumentationScope::builder("firstlight").build(),
        })
    }

    /// Its host, for the log: the rest of an address may hold a key.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Hands spans over.
    ///
    /// # Errors
    /// Why the collector did not take them, in words without headers or bodies.
    pub(super) async fn take(&self, spans: &[Span]) -> Result<(), String> {
        let batch = spans.iter().map(|span| shaped(span, &self.scope)).collect();
        self.exporter.export(batch).await.map_err(|error| error.to_string())
    }
}

/// The base URL with the path of traces, once.
fn address(endpoint: &HttpUrl) -> String {
    let base = endpoint.to_string();
    if base.ends_with(PATH) { base } else { base + PATH }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_traces_is_added_once() {
        for (base, whole) in [
            ("http://localhost:4318", "http://localhost:4318/v1/traces"),
            ("http://localhost:4318/", "http://localhost:4318/v1/traces"),
            (
                "https://collector.example/otlp",
                "https://collector.example/otlp/v1/traces",
            ),
            ("http://localhost:4318/v1/traces", "http://localhost:4318/v1/traces"),
        ] {
            let endpoint: HttpUrl = base.parse().expect("a URL");
            assert_eq!(address(&endpoint), whole, "{base}");
        }
    }
}
