//! What is printed at the end: name, median, spread, target, verdict. Judges nothing else.

#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<[String; 4]>,
}

impl Table {
    pub(crate) fn at_least(&mut self, name: &str, values: &[f64], target: f64) {
        let verdict = if median(values) >= target { "ok" } else { "MISSED" };
        self.push(name, values, &format!("≥ {target}"), verdict);
    }

    pub(crate) fn at_most_of(&mut self, name: &str, values: &[f64], target: f64) {
        let verdict = if median(values) <= target { "ok" } else { "MISSED" };
        self.push(name, values, &format!("≤ {target}"), verdict);
    }

    pub(crate) fn at_most(&mut self, name: &str, value: f64, target: f64) {
        self.at_most_of(name, &[value], target);
    }

    pub(crate) fn tell(&mut self, name: &str, values: &[f64]) {
        self.push(name, values, "", "");
    }

    fn push(&mut self, name: &str, values: &[f64], target: &str, verdict: &str) {
        let spread = match values {
            [_, _, ..] => {
                let least = values.iter().copied().fold(f64::INFINITY, f64::min);
                let most = values.iter().copied().fold(0.0, f64::max);
                format!("{} ({} – {})", shown(median(values)), shown(least), shown(most))
            }
            _ => shown(median(values)),
        };
        eprintln!("  {name}: {spread}  {target}  {verdict}");
        self.rows
            .push([name.to_owned(), spread, target.to_owned(), verdict.to_owned()]);
    }

    pub(crate) fn print(&self) {
        println!("| measured | median (least – most) | target | |\n|---|---|---|---|");
        for [name, value, target, verdict] in &self.rows {
            println!("| {name} | {value} | {target} | {verdict} |");
        }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}

fn shown(value: f64) -> String {
    match value {
        v if v >= 1000.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.3}"),
    }
}
