//! Which phases of a workflow have ended when another begins, and whether its graph can be walked at all. Pure.

/// What ends before what.
#[derive(Debug)]
pub(super) enum Order {
    /// One after the other.
    Line,
    /// By what each waits for: for each phase the set of those that have ended, one bit each.
    Graph(Vec<Vec<u64>>),
    /// A graph that cannot be walked. Everything may have ended before everything, so that one mistake does not become ten.
    Unknown,
}

impl Order {
    /// Whether the phase `first` has ended whenever the phase `then` begins.
    pub(super) fn ends_before(&self, first: usize, then: usize) -> bool {
        match self {
            Self::Line => first < then,
            Self::Unknown => true,
            Self::Graph(before) => before
                .get(then)
                .and_then(|set| set.get(first / 64))
                .is_some_and(|word| word & (1 << (first % 64)) != 0),
        }
    }

    /// The order of a graph. `waits_for` holds, for each phase, the indices of those that it depends on.
    ///
    /// # Errors
    /// Circles, at most `most` of them, no phase in two of them. In each the next one depends on the one before it, and the
    /// first on the last.
    pub(super) fn of_graph(waits_for: &[Vec<usize>], most: usize) -> Result<Self, Vec<Vec<usize>>> {
        let count = waits_for.len();
        let mut follow: Vec<Vec<usize>> = vec![Vec::new(); count];
        let mut open: Vec<usize> = vec![0; count];
        for (phase, needs) in waits_for.iter().enumerate() {
            for need in needs {
                follow[*need].push(phase);
                open[phase] += 1;
            }
        }
        let mut before = vec![vec![0u64; count.div_ceil(64)]; count];
        let mut ready: Vec<usize> = (0..count).filter(|phase| open[*phase] == 0).collect();
        let mut done = vec![false; count];
        let mut circles = Vec::new();
        loop {
            while let Some(phase) = ready.pop() {
                if std::mem::replace(&mut done[phase], true) {
                    continue;
                }
                let mut set = before[phase].clone();
                set[phase / 64] |= 1 << (phase % 64);
                for next in &follow[phase] {
                    for (word, more) in before[*next].iter_mut().zip(&set) {
                        *word |= more;
                    }
                    open[*next] = open[*next].saturating_sub(1);
                    if open[*next] == 0 {
                        ready.push(*next);
                    }
                }
            }
            let Some(stuck) = done.iter().position(|done| !done) else {
                break;
            };
            let circle = circle_from(stuck, waits_for, &done);
            // The graph goes on as if the circle were cut, so that the others are found too.
            ready.extend(&circle);
            circles.push(circle);
            if circles.len() == most {
                break;
            }
        }
        if circles.is_empty() {
            Ok(Self::Graph(before))
        } else {
            Err(circles)
        }
    }
}

/// Every phase that is left waits for another one that is left, so whoever follows comes round.
fn circle_from(start: usize, waits_for: &[Vec<usize>], done: &[bool]) -> Vec<usize> {
    let mut place: Vec<Option<usize>> = vec![None; waits_for.len()];
    let mut way = Vec::new();
    let mut phase = start;
    loop {
        if let Some(first) = place[phase] {
            let mut circle = way.split_off(first);
            let lowest = (0..circle.len()).min_by_key(|at| circle[*at]).unwrap_or(0);
            circle.rotate_left(lowest);
            return circle;
        }
        place[phase] = Some(way.len());
        way.push(phase);
        match waits_for[phase].iter().find(|need| !done[**need]) {
            Some(need) => phase = *need,
            None => return way,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_circle_is_found_and_named_once() {
        for (graph, circles) in [
            (vec![vec![1], vec![0]], vec![vec![0, 1]]),
            (vec![vec![], vec![0, 3], vec![1], vec![2]], vec![vec![1, 3, 2]]),
            (
                vec![vec![1], vec![0], vec![3], vec![2], vec![0, 2]],
                vec![vec![0, 1], vec![2, 3]],
            ),
        ] {
            assert_eq!(Order::of_graph(&graph, 10).expect_err("it has circles"), circles);
        }
        let ring: Vec<_> = (0..1_000).map(|at| vec![(at + 1) % 1_000]).collect();
        assert_eq!(Order::of_graph(&ring, 10).expect_err("it is one")[0].len(), 1_000);
    }

    proptest! {
        /// Where each phase depends on lower ones only, what ends before is what a walk over the arrows reaches.
        #[test]
        fn what_ends_before_is_what_is_waited_for(arrows in prop::collection::vec((0..40usize, 0..40usize), 0..120)) {
            let mut graph = vec![Vec::new(); 40];
            for (one, other) in arrows {
                if one != other {
                    graph[one.max(other)].push(one.min(other));
                }
            }
            let order = Order::of_graph(&graph, 10).expect("no circle");
            for then in 0..40 {
                let mut reached = [false; 40];
                let mut way = graph[then].clone();
                while let Some(at) = way.pop() {
                    if !std::mem::replace(&mut reached[at], true) {
                        way.extend(&graph[at]);
                    }
                }
                for (first, reached) in reached.iter().enumerate() {
                    prop_assert_eq!(order.ends_before(first, then), *reached);
                }
            }
        }

        /// Every circle that is told is one.
        #[test]
        fn a_circle_that_is_told_is_one(arrows in prop::collection::vec((0..12usize, 0..12usize), 0..40)) {
            let mut graph = vec![Vec::new(); 12];
            for (one, other) in arrows {
                if one != other {
                    graph[one].push(other);
                }
            }
            if let Err(circles) = Order::of_graph(&graph, 10) {
                prop_assert!(!circles.is_empty());
                for circle in circles {
                    prop_assert!(circle.len() > 1);
                    for (at, phase) in circle.iter().enumerate() {
                        prop_assert!(graph[*phase].contains(&circle[(at + 1) % circle.len()]), "{:?}", circle);
                    }
                }
            }
        }
    }
}
