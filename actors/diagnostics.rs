//! The injectable hooks of the integrations: a number, an event, an error. Knows no actor and no exporter.
//!
//! The seed's `setDiagnosticHooks({ emitMetric, emitEvent, emitError })`. Whoever sets none has the usual ones: tracing, and the
//! `metrics` facade, whose numbers `GET /metrics` shows.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

/// Takes a number: its name, its value, and labels as name and value. Counters are given as what is added, times in ms.
pub type EmitMetric = dyn Fn(&str, f64, &[(&str, &str)]) + Send + Sync;
/// Takes an event: its name, and facts as name and value.
pub type EmitEvent = dyn Fn(&str, &[(&str, &str)]) + Send + Sync;
/// Takes an error: where it happened, and its words.
pub type EmitError = dyn Fn(&str, &str) + Send + Sync;

/// What is called. A hook that is absent is not called; a hook that panics is reported once and harms nobody.
#[derive(Clone, Default)]
pub struct DiagnosticHooks {
    /// The seed's `emitMetric`.
    pub emit_metric: Option<Arc<EmitMetric>>,
    /// The seed's `emitEvent`.
    pub emit_event: Option<Arc<EmitEvent>>,
    /// The seed's `emitError`.
    pub emit_error: Option<Arc<EmitError>>,
}

impl DiagnosticHooks {
    /// Tracing, and the `metrics` facade: names that end in `_ms` are histograms, the others counters.
    #[must_use]
    pub fn usual() -> Self {
        Self {
            emit_metric: Some(Arc::new(|name, value, labels| {
                let labels: Vec<_> = labels
                    .iter()
                    .map(|(key, value)| metrics::Label::new((*key).to_owned(), (*value).to_owned()))
                    .collect();
                let name = name.replace('.', "_");
                if name.ends_with("_ms") {
                    metrics::histogram!(name, labels).record(value);
                } else {
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "a counter is given small whole numbers"
                    )]
                    metrics::counter!(format!("{name}_total"), labels).increment(value.max(0.0) as u64);
                }
            })),
            emit_event: Some(Arc::new(|name, facts| {
                tracing::debug!(event = name, ?facts, "integration")
            })),
            emit_error: Some(Arc::new(|place, words| {
                tracing::warn!(place, words, "an integration failed")
            })),
        }
    }
}

static HOOKS: LazyLock<RwLock<Arc<DiagnosticHooks>>> =
    LazyLock::new(|| RwLock::new(Arc::new(DiagnosticHooks::usual())));
static REPORTED: AtomicBool = AtomicBool::new(false);

/// The seed's `setDiagnosticHooks`: from now on these are called, in the whole process.
pub fn set_diagnostic_hooks(hooks: DiagnosticHooks) {
    *HOOKS.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(hooks);
    REPORTED.store(false, Ordering::Relaxed);
}

/// Calls the hook for numbers.
pub fn emit_metric(name: &str, value: f64, labels: &[(&str, &str)]) {
    if let Some(hook) = &hooks().emit_metric {
        safely("emit_metric", || hook(name, value, labels));
    }
}

/// Calls the hook for events.
pub fn emit_event(name: &str, facts: &[(&str, &str)]) {
    if let Some(hook) = &hooks().emit_event {
        safely("emit_event", || hook(name, facts));
    }
}

/// Calls the hook for errors.
pub fn emit_error(place: &str, words: &str) {
    if let Some(hook) = &hooks().emit_error {
        safely("emit_error", || hook(place, words));
    }
}

/// The hooks of the moment; no lock is held while they are called, so that one may set others.
fn hooks() -> Arc<DiagnosticHooks> {
    HOOKS.read().unwrap_or_else(PoisonError::into_inner).clone()
}

fn safely(hook: &str, call: impl FnOnce()) {
    let panicked = catch_unwind(AssertUnwindSafe(call)).is_err();
    if panicked && !REPORTED.swap(true, Ordering::Relaxed) {
        tracing::error!(
            hook,
            "a diagnostic hook panicked; it is called again, and not reported again"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn hooks_are_called_and_one_that_panics_harms_nobody() {
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let note = |told: &Arc<Mutex<Vec<String>>>, line: String| {
            told.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        };
        let (events, errors) = (Arc::clone(&told), Arc::clone(&told));
        set_diagnostic_hooks(DiagnosticHooks {
            emit_metric: Some(Arc::new(|_, _, _| panic!("a bad hook"))),
            emit_event: Some(Arc::new(move |name, facts| note(&events, format!("{name} {facts:?}")))),
            emit_error: Some(Arc::new(move |place, words| note(&errors, format!("{place}: {words}")))),
        });
        emit_metric("integrations.of.this.test", 1.0, &[]);
        emit_metric("integrations.of.this.test", 1.0, &[]);
        emit_event("integrations.of.this.test", &[("webhook.id", "w")]);
        emit_error("integrations.of.this.test", "no room");
        set_diagnostic_hooks(DiagnosticHooks::default());
        emit_event("integrations.of.this.test", &[("nobody", "listens")]);
        set_diagnostic_hooks(DiagnosticHooks::usual());
        // Other tests of this process speak through the same hooks.
        let told: Vec<_> = told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .filter(|line| line.starts_with("integrations.of.this.test"))
            .cloned()
            .collect();
        assert_eq!(
            told,
            [
                "integrations.of.this.test [(\"webhook.id\", \"w\")]",
                "integrations.of.this.test: no room"
            ]
        );
    }
}
