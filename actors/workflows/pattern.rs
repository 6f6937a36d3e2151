//! The patterns of `unless_title_matches`. Pure; knows no run.

/// Longest pattern, in characters.
pub const MAX_PATTERN: usize = 200;

/// A regular expression for one line of text, in any case. Matching takes time in step with the text's length, whatever the
/// pattern is.
#[derive(Debug, Clone)]
pub struct Pattern(regex::Regex);

impl Pattern {
    /// Understands a pattern.
    ///
    /// # Errors
    /// When it is longer than [`MAX_PATTERN`], no regular expression, or uses what needs backtracking (look-around,
    /// references to groups): what is wrong, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.chars().count() > MAX_PATTERN {
            return Err(format!("is longer than {MAX_PATTERN} characters; shorten it"));
        }
        regex::RegexBuilder::new(text)
            .case_insensitive(true)
            .size_limit(1 << 20)
            .build()
            .map(Self)
            .map_err(|error| {
                // Its last line says what is wrong; the lines before draw an arrow.
                let whole = error.to_string();
                let last = whole.lines().last().unwrap_or("").trim();
                format!("is no pattern: {}", last.strip_prefix("error: ").unwrap_or(last))
            })
    }

    /// Whether it is found anywhere in the text.
    #[must_use]
    pub fn is_in(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_found_in_any_case() {
        let pattern = Pattern::parse(r"^(guardrails:|\[guardrails\])").expect("it is one");
        assert!(pattern.is_in("Guardrails: add a linter"));
        assert!(pattern.is_in("[GUARDRAILS] add a linter"));
        assert!(!pattern.is_in("add guardrails: a linter"));
    }

    #[test]
    fn what_is_no_pattern_is_told_in_one_line() {
        for (text, words) in [
            ("(".to_owned(), "is no pattern: unclosed group"),
            ("(?=x)".to_owned(), "look-around"),
            (r"(a)\1".to_owned(), "backreferences are not supported"),
            ("a{1000}{1000}".to_owned(), "is no pattern: "),
            ("x".repeat(201), "is longer than 200 characters"),
        ] {
            let problem = Pattern::parse(&text).expect_err(&text);
            assert!(problem.contains(words) && !problem.contains('\n'), "{text}: {problem}");
        }
    }

    #[test]
    fn a_pattern_that_would_explode_elsewhere_takes_no_time() {
        let pattern = Pattern::parse("^(a+)+$").expect("it is one");
        assert!(!pattern.is_in(&format!("{}b", "a".repeat(100_000))));
    }
}
