//! What pages are made of: badges, times, tables, notes, forms. Knows no door and no page.

use actors::domain::{ApprovalStatus, EffectState, EventState, PhaseStatus, RunStatus};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use maud::{Markup, Render, html};

use super::frame::Visit;

/// What a colour says. Never alone: the words beside it say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Quiet,
    Good,
    Busy,
    Waiting,
    Bad,
}

impl Tone {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Waiting => "waiting",
            Self::Bad => "bad",
        }
    }
}

impl Render for Tone {
    fn render_to(&self, buffer: &mut String) {
        buffer.push_str(self.as_str());
    }
}

/// What has a state, in words and with a tone.
pub(super) trait Standing {
    fn words(&self) -> &'static str;
    fn tone(&self) -> Tone;
}

impl Standing for RunStatus {
    fn words(&self) -> &'static str {
        match self {
            Self::Paused => "waits for a person",
            other => other.as_str(),
        }
    }

    fn tone(&self) -> Tone {
        match self {
            Self::Queued | Self::Cancelled => Tone::Quiet,
            Self::Running => Tone::Busy,
            Self::Paused => Tone::Waiting,
            Self::Succeeded => Tone::Good,
            Self::Failed => Tone::Bad,
        }
    }
}

impl Standing for PhaseStatus {
    fn words(&self) -> &'static str {
        match self {
            Self::WaitingApproval => "waits for a person",
            other => other.as_str(),
        }
    }

    fn tone(&self) -> Tone {
        match self {
            Self::Skipped => Tone::Quiet,
            Self::Running => Tone::Busy,
            Self::WaitingApproval => Tone::Waiting,
            Self::Succeeded => Tone::Good,
            Self::Failed => Tone::Bad,
        }
    }
}

impl Standing for EventState {
    fn words(&self) -> &'static str {
        match self {
            Self::Recorded => "waits to be routed",
            Self::Settled => "routed",
            Self::Quarantined => "set aside",
        }
    }

    fn tone(&self) -> Tone {
        match self {
            Self::Recorded => Tone::Busy,
            Self::Settled => Tone::Good,
            Self::Quarantined => Tone::Bad,
        }
    }
}

impl Standing for ApprovalStatus {
    fn words(&self) -> &'static str {
        match self {
            Self::Pending => "waits for a person",
            other => other.as_str(),
        }
    }

    fn tone(&self) -> Tone {
        match self {
            Self::Pending => Tone::Waiting,
            Self::Approved => Tone::Good,
            Self::Rejected => Tone::Bad,
            Self::Lapsed => Tone::Quiet,
        }
    }
}

impl Standing for EffectState {
    fn words(&self) -> &'static str {
        match self {
            Self::InFlight => "on its way",
            other => other.as_str(),
        }
    }

    fn tone(&self) -> Tone {
        match self {
            Self::Pending | Self::InFlight => Tone::Busy,
            Self::Done => Tone::Good,
            Self::Undeliverable => Tone::Waiting,
            Self::Dead => Tone::Bad,
        }
    }
}

/// A state as a badge.
pub(super) fn state(of: &impl Standing) -> Markup {
    badge(of.tone(), of.words())
}

/// A word with a tone.
pub(super) fn badge(tone: Tone, words: &str) -> Markup {
    html! { span.badge data-tone=(tone) { (words) } }
}

/// An icon from path data on a grid of 20 by 20; it says nothing that is not said in words.
pub(super) fn icon(path: &'static str) -> Markup {
    html! { svg.icon viewBox="0 0 20 20" aria-hidden="true" { path d=(path) {} } }
}

/// Words from outside: text, whatever is in them, and no writing direction that leaks out.
pub(super) fn foreign(text: impl AsRef<str>) -> Markup {
    html! { bdi { (text.as_ref()) } }
}

/// The same, cut to so many characters; the whole of it on hover.
pub(super) fn shortened(text: &str, most: usize) -> Markup {
    let line = text.split('\n').next().unwrap_or_default();
    let cut: String = line.chars().take(most).collect();
    if cut.len() == text.len() {
        return foreign(text);
    }
    let title: String = text.chars().take(400).collect();
    html! { bdi title=(title) { (cut.trim_end()) "…" } }
}

/// A message of the house as a sentence: it begins with a capital and ends with a stop.
pub(super) fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let Some(first) = letters.next() else {
        return String::new();
    };
    let mut sentence: String = first.to_uppercase().chain(letters).collect();
    if !sentence.ends_with(['.', '!', '?', '…']) {
        sentence.push('.');
    }
    sentence
}

/// An instant: exact in UTC as it is made here; the module shows how long ago, and the viewer's zone on hover.
pub(super) fn time(at: DateTime<Utc>) -> Markup {
    html! {
        time datetime=(at.to_rfc3339_opts(SecondsFormat::Millis, true)) { (at.format("%Y-%m-%d %H:%M:%S UTC")) }
    }
}

/// The same where the date is what counts: the module shows it by the viewer's clock.
pub(super) fn clock(at: DateTime<Utc>) -> Markup {
    html! {
        time datetime=(at.to_rfc3339_opts(SecondsFormat::Millis, true)) data-show="clock" { (at.format("%Y-%m-%d %H:%M:%S UTC")) }
    }
}

/// How long something took, or takes by now.
pub(super) fn took(from: Option<DateTime<Utc>>, to: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Markup {
    match (from, to) {
        (None, _) => html! { span.quiet { "–" } },
        (Some(from), Some(to)) => html! { span { (length(to - from)) } },
        (Some(from), None) => html! {
            span data-since=(from.to_rfc3339_opts(SecondsFormat::Millis, true)) { (length(now - from)) }
        },
    }
}

/// A length of time in words: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`.
pub(super) fn length(of: TimeDelta) -> String {
    let ms = of.num_milliseconds().max(0);
    let (s, min, h) = (ms / 1000, ms / 60_000, ms / 3_600_000);
    match () {
        () if ms < 1_000 => format!("{ms} ms"),
        () if s < 10 => format!("{}.{} s", s, ms % 1000 / 100),
        () if min < 1 => format!("{s} s"),
        () if h < 1 => format!("{min} min {} s", s % 60),
        () if h < 24 => format!("{h} h {} min", min % 60),
        () => format!("{} d {} h", h / 24, h % 24),
    }
}

/// How many bytes, in words.
pub(super) fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "one digit behind the point is shown")]
    let of = |unit: u64| bytes as f64 / unit as f64;
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", of(1_000)),
        _ => format!("{:.1} MB", of(1_000_000)),
    }
}

/// A number with thin gaps between thousands.
pub(super) fn number(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// The head of a page: its name, one line that says what it is, and what can be done.
pub(super) fn heading(title: impl Render, lead: Markup, actions: Markup) -> Markup {
    html! {
        header.heading {
            div { h1 { (title) } p.lead { (lead) } }
            div.actions { (actions) }
        }
    }
}

/// A part that follows the server: fetched anew when the stream tells of one of these kinds (with blanks between them), or of
/// one thing of a kind, `run:<id>`.
pub(super) fn live(id: &str, kinds: &str, content: Markup) -> Markup {
    html! { div id=(id) data-live=(kinds) { (content) } }
}

/// The same, fetched anew every so many seconds as well: for what no change tells of.
pub(super) fn live_every(id: &str, kinds: &str, seconds: u32, content: Markup) -> Markup {
    html! { div id=(id) data-live=(kinds) data-every=(seconds) { (content) } }
}

/// Nothing is here, and what to do about it.
pub(super) fn empty(title: &str, words: Markup) -> Markup {
    html! { div.empty { h2 { (title) } p { (words) } } }
}

/// Something to know before anything else.
pub(super) fn note(tone: Tone, content: Markup) -> Markup {
    html! { div.note data-tone=(tone) { (content) } }
}

/// A part of a page with a name.
pub(super) fn card(title: &str, actions: Markup, content: Markup) -> Markup {
    html! {
        section.card {
            header { h2 { (title) } div.actions { (actions) } }
            (content)
        }
    }
}

/// A row of a [`table`].
pub(super) struct Row {
    /// Where the row leads; its first cell becomes the link.
    pub(super) href: Option<String>,
    /// One for each column.
    pub(super) cells: Vec<Markup>,
}

/// A table that becomes a stack of cards on a phone. `caption` is for those who cannot see it.
pub(super) fn table(caption: &str, columns: &[&str], rows: impl IntoIterator<Item = Row>) -> Markup {
    html! {
        table {
            caption.unseen { (caption) }
            thead { tr { @for column in columns { th scope="col" { (column) } } } }
            tbody {
                @for row in rows {
                    tr data-row[row.href.is_some()] {
                        @for (at, cell) in row.cells.iter().enumerate() {
                            td data-label=(columns.get(at).copied().unwrap_or_default()) {
                                div.cell {
                                    @match &row.href {
                                        Some(href) if at == 0 => a.row href=(href) { (cell) },
                                        _ => (cell),
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The way to older rows, and back to the newest.
pub(super) fn pager(visit: &Visit, next: Option<i64>) -> Markup {
    let here = visit.here();
    let older = next.map(|next| visit.url(&with(here, "before", &next.to_string())));
    let newest = here.contains("before=").then(|| visit.url(&with(here, "before", "")));
    html! {
        @if older.is_some() || newest.is_some() {
            nav.pager aria-label="Pages of the list" {
                @if let Some(newest) = newest { a.button href=(newest) { "Newest" } }
                @if let Some(older) = older { a.button href=(older) rel="next" { "Older" } }
            }
        }
    }
}

/// An address with one value of its query replaced; an empty one is taken out.
pub(super) fn with(address: &str, name: &str, value: &str) -> String {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let mut pairs = url::form_urlencoded::Serializer::new(String::new());
    for (key, old) in url::form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key != name) {
        pairs.append_pair(&key, &old);
    }
    if !value.is_empty() {
        pairs.append_pair(name, value);
    }
    match pairs.finish().as_str() {
        "" => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

/// Names and values.
pub(super) fn facts(of: impl IntoIterator<Item = (&'static str, Markup)>) -> Markup {
    html! { dl.facts { @for (name, value) in of { div { dt { (name) } dd { (value) } } } } }
}

/// A button that copies `text`.
pub(super) fn copy(text: &str) -> Markup {
    html! {
        button.plain.copy type="button" data-copy=(text) aria-label="Copy" title="Copy" {
            (icon("M7 7V4h9v9h-3M4 7h9v9H4Z"))
        }
    }
}

/// A text in a fixed pitch, with a button that copies it. A long one is cut on the page, never in the middle of a character.
pub(super) fn code(label: &str, text: &str) -> Markup {
    code_of(label, text, html! { (text) })
}

/// The same with `shown` where the text would be, for what is highlighted.
pub(super) fn code_of(label: &str, text: &str, shown: Markup) -> Markup {
    html! {
        div.code {
            button.plain.copy type="button" data-copy-next="" aria-label={ "Copy " (label) } title="Copy" {
                (icon("M7 7V4h9v9h-3M4 7h9v9H4Z"))
            }
            pre tabindex="0" role="region" aria-label=(label) data-bytes=(text.len()) { code { (shown) } }
        }
    }
}

/// Indented JSON.
pub(super) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("cannot be shown: {error}"))
}

/// What a button does: one call of the API.
pub(super) struct Act<'a> {
    /// On the button.
    pub(super) label: &'a str,
    /// Path of the API with its base.
    pub(super) url: String,
    /// The JSON that is sent.
    pub(super) body: serde_json::Value,
    /// Asked first, in words; empty: nothing is asked.
    pub(super) confirm: &'a str,
    /// What is said when it is done, with `{key}` for what is in the answer.
    pub(super) done: &'a str,
    /// Where to go then, with `{key}` for what is in the answer; empty: the page is fetched anew.
    pub(super) then: String,
    /// `primary`, `danger` or nothing.
    pub(super) class: &'a str,
}

/// A button that calls the API.
pub(super) fn act(act: &Act<'_>) -> Markup {
    let confirm = (!act.confirm.is_empty()).then_some(act.confirm);
    let then = (!act.then.is_empty()).then_some(act.then.as_str());
    html! {
        button type="button" class=(act.class) data-api=(act.url) data-body=(act.body) data-confirm=[confirm]
            data-done=(act.done) data-then=[then] { (act.label) }
    }
}

/// A form whose fields go to the API as JSON. `then`: where to go when it is done, with `{key}` for what is in the answer.
pub(super) fn form(url: &str, done: &str, then: &str, content: Markup) -> Markup {
    html! {
        form.form data-api=(url) data-done=(done) data-then=[(!then.is_empty()).then_some(then)] {
            (content)
            p.trouble role="alert" {}
        }
    }
}

/// A field with its name and one line of help.
pub(super) fn field(id: &str, label: &str, help: &str, input: Markup) -> Markup {
    html! {
        div.field {
            label for=(id) { (label) }
            (input)
            @if !help.is_empty() { p.help id={ (id) "-help" } { (help) } }
        }
    }
}

/// A choice in a bar of filters; `all` is what no choice is called.
pub(super) fn choice<'a>(
    name: &str,
    label: &str,
    all: &str,
    options: impl IntoIterator<Item = (&'a str, &'a str)>,
    chosen: Option<&str>,
) -> Markup {
    html! {
        label.filter {
            span { (label) }
            select name=(name) {
                option value="" { (all) }
                @for (value, words) in options {
                    option value=(value) selected[chosen == Some(value)] { (words) }
                }
            }
        }
    }
}

/// A text in a bar of filters.
pub(super) fn filter(name: &str, label: &str, example: &str, value: Option<&str>) -> Markup {
    html! {
        label.filter {
            span { (label) }
            input type="search" name=(name) placeholder=(example) value=[value] autocomplete="off" spellcheck="false";
        }
    }
}

/// A bar of filters: a form that asks for the same page with other words in its address.
pub(super) fn filters(url: &str, content: Markup) -> Markup {
    html! {
        form.filters method="get" action=(url) role="search" aria-label="Filter" {
            (content)
            button type="submit" { "Filter" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_words_that_fit_them() {
        for (ms, expected) in [
            (-5, "0 ms"),
            (12, "12 ms"),
            (1_460, "1.4 s"),
            (59_999, "59 s"),
            (185_000, "3 min 5 s"),
            (7_800_000, "2 h 10 min"),
            (273_600_000, "3 d 4 h"),
        ] {
            assert_eq!(length(TimeDelta::milliseconds(ms)), expected);
        }
    }

    #[test]
    fn an_address_keeps_its_other_words() {
        for (address, name, value, expected) in [
            ("/admin/runs", "before", "7", "/admin/runs?before=7"),
            (
                "/admin/runs?repo=a%2Fb&before=9",
                "before",
                "7",
                "/admin/runs?repo=a%2Fb&before=7",
            ),
            ("/admin/runs?before=9", "before", "", "/admin/runs"),
        ] {
            assert_eq!(with(address, name, value), expected);
        }
    }

    #[test]
    fn numbers_have_gaps_and_sentences_have_ends() {
        assert_eq!(number(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(number(12), "12");
        assert_eq!(sentence("not found"), "Not found.");
        assert_eq!(sentence(""), "");
        assert_eq!(size(10_500), "10.5 kB");
    }

    #[test]
    fn foreign_words_are_text() {
        let shown = foreign("<script>alert(1)</script>").into_string();
        assert_eq!(shown, "<bdi>&lt;script&gt;alert(1)&lt;/script&gt;</bdi>");
        assert!(shortened("a\u{202e}b\nc", 80).into_string().starts_with("<bdi title="));
    }
}
