//! Which known word a misspelt one was meant to be. Knows no list of its own.

/// The known word that was probably meant, for "did you mean …". Case and `-` against `_` do not count as differences.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Nobody mistypes at this length, and the comparison costs the product of both lengths.
    const LONGEST: usize = 64;
    let fold = |word: &str| word.to_lowercase().replace('-', "_");
    if word.is_empty() || word.len() > LONGEST {
        return None;
    }
    let wanted = fold(word);
    let length = wanted.chars().count();
    known
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .filter_map(|candidate| {
            let folded = fold(candidate);
            let distance = strsim::damerau_levenshtein(&wanted, &folded);
            let longest = length.max(folded.chars().count());
            // A quarter of the word may differ; of a short word one character, but never all of it.
            (distance <= (longest / 4).max(1) && distance < length).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
