//! Reads the allocations of a new contact from the table that `cargo bench --bench delivery` prints.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The median for a payload of 3 KB, with services that answer at once.
///
/// # Errors
///
/// If the file does not contain the figure.
pub fn of_a_new_contact(printed: &Path) -> Result<f64> {
    let text = fs::read_to_string(printed).with_context(|| printed.display().to_string())?;
    median(&text, "whole_delivery", "3000").with_context(|| {
        format!(
            "no allocations of a whole delivery in {}",
            printed.display()
        )
    })
}

/// ```text
/// delivery           fastest       │ slowest       │ median        │ …
/// ╰─ whole_delivery                │               │               │ …
///    ├─ 3000         28.1 µs       │ 61.9 µs       │ 29.2 µs       │ …
///    │               alloc:        │               │               │ …
///    │                 141         │ 141           │ 141           │ …
/// ```
fn median(text: &str, benchmark: &str, argument: &str) -> Option<f64> {
    let is_drawn = |c: char| c.is_whitespace() || "├╰│─".contains(c);
    let mut lines = text
        .lines()
        .map(|line| (line, line.trim_start_matches(is_drawn)));
    let mut reach =
        |first: &str| lines.find(|(_, words)| words.split([' ', '│']).next() == Some(first));
    reach(benchmark)?;
    reach(argument)?;
    reach("alloc:")?;
    let (_, counts) = lines.next()?;
    counts.split('│').nth(2)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
delivery           fastest       │ slowest       │ median        │ mean          │ samples │ iters
├─ forged_delivery               │               │               │               │         │
│  ╰─ 3000         4.902 µs      │ 12.53 µs      │ 5.103 µs      │ 5.251 µs      │ 100     │ 200
│                  max alloc:    │               │               │               │         │
│                    4           │ 4             │ 4             │ 4             │         │
│                    4.6 KB      │ 4.6 KB        │ 4.6 KB        │ 4.6 KB        │         │
│                  alloc:        │               │               │               │         │
│                    8           │ 8             │ 8             │ 8             │         │
│                    6.2 KB      │ 6.2 KB        │ 6.2 KB        │ 6.2 KB        │         │
╰─ whole_delivery                │               │               │               │         │
   ├─ 300          17.94 µs      │ 67.87 µs      │ 18.94 µs      │ 19.25 µs      │ 100     │ 100
   │               alloc:        │               │               │               │         │
   │                 139         │ 139           │ 139           │ 139           │         │
   │                 45.68 KB    │ 45.68 KB      │ 45.68 KB      │ 45.68 KB      │         │
   ╰─ 3000         28.45 µs      │ 78.47 µs      │ 29.28 µs      │ 29.72 µs      │ 100     │ 100
                   max alloc:    │               │               │               │         │
                     61          │ 63            │ 62            │ 62            │         │
                     42.63 KB    │ 42.63 KB      │ 42.63 KB      │ 42.63 KB      │         │
                   alloc:        │               │               │               │         │
                     140         │ 190           │ 141           │ 142.5         │         │
                     42.63 KB    │ 42.63 KB      │ 42.63 KB      │ 42.63 KB      │         │
";

    #[test]
    fn the_median_of_the_named_benchmark_is_read() {
        let read = |benchmark, argument| median(PRINTED, benchmark, argument);
        assert_eq!(read("whole_delivery", "3000"), Some(141.0));
        assert_eq!(read("whole_delivery", "300"), Some(139.0));
        assert_eq!(read("forged_delivery", "3000"), Some(8.0));
        assert_eq!(read("whole_delivery", "30"), None);
        assert_eq!(read("delivery_of_another_name", "3000"), None);
    }
}
