//! A share of a list: which scenarios this machine, or this topology, plays.

use std::str::FromStr;

/// The i-th of n shares, as in `2/3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    of: usize,
}

/// More machines than this share no list.
const SHARES_MAX: usize = 1_000;

impl Shard {
    /// All shares of n.
    pub fn all(of: usize) -> impl Iterator<Item = Self> {
        (1..=of).map(move |index| Self { index, of })
    }

    /// Every n-th item, beginning with the i-th: neighbours, which are often alike, are spread out. Every item is in one share.
    #[must_use]
    pub fn take<T: Clone>(self, items: &[T]) -> Vec<T> {
        items.iter().skip(self.index - 1).step_by(self.of).cloned().collect()
    }
}

/// Puts the results of all shares of a list back into the list's order; a share may have ended early.
#[must_use]
pub fn in_order<T>(shares: Vec<Vec<T>>) -> Vec<T> {
    let mut shares: Vec<_> = shares.into_iter().map(Vec::into_iter).collect();
    let rounds = shares.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
    (0..rounds).flat_map(|_| shares.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>()).collect()
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((index, of)) if (1..=of).contains(&index) && of <= SHARES_MAX => Ok(Self { index, of }),
            _ => Err(format!("expected i/n with 1 ≤ i ≤ n ≤ {SHARES_MAX}, such as 2/3")),
        }
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_item_is_in_one_share_and_comes_back_in_order(items: Vec<u8>, of in 1usize..9) {
            let shares: Vec<Vec<u8>> = Shard::all(of).map(|shard| shard.take(&items)).collect();
            let most = shares.iter().map(Vec::len).max().unwrap_or(0);
            let least = shares.iter().map(Vec::len).min().unwrap_or(0);
            prop_assert!(most - least <= 1, "shares are alike in size");
            prop_assert_eq!(in_order(shares), items);
        }
    }

    #[test]
    fn a_share_is_written_as_i_of_n() {
        let shard: Shard = "2/3".parse().expect("it is one");
        assert_eq!(shard.take(&["a", "b", "c", "d", "e"]), ["b", "e"]);
        for wrong in ["0/3", "4/3", "1", "a/b", "1/0", "-1/2", "1/2000"] {
            assert!(wrong.parse::<Shard>().expect_err(wrong).contains("such as 2/3"));
        }
    }

    #[test]
    fn a_share_that_ended_early_leaves_its_place_to_the_next() {
        assert_eq!(in_order(vec![vec![1, 3], vec![2, 4, 6]]), [1, 2, 3, 4, 6]);
    }
}
