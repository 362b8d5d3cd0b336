//! Diagnostics: `tracing` events and panics, as JSON lines.

use tracing_subscriber::fmt::MakeWriter;

/// Sends diagnostics (`tracing` events, panics) to `writer` as JSON lines.
pub fn diagnostics<W>(level: tracing::Level, writer: W)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    use tracing_subscriber::Layer as _;
    use tracing_subscriber::layer::SubscriberExt as _;
    let lines =
        tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false).with_writer(writer);
    // Below `warn`, the SDK and the HTTP libraries log their internals, and collecting these events costs more than a
    // request. Our crate `aws` is not in the list: a name also matches all targets that begin with it, and the targets
    // of the SDK begin with `aws`.
    let ours = tracing_subscriber::filter::Targets::new()
        .with_default(level.min(tracing::Level::WARN))
        .with_targets(["cloudwatch", "domain", "functions", "greenroom", "local", "store"].map(|name| (name, level)));
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(ours));
    // This fails only if a subscriber is already set, and that subscriber then stays.
    let _ = tracing::subscriber::set_global_default(subscriber);
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(target: "functions", location, "panic: {}", message(panic));
    }));
}

fn message<'a>(panic: &'a std::panic::PanicHookInfo<'_>) -> &'a str {
    let payload = panic.payload();
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("")
}
