//! The machine's own condition: pressure stall information.

/// Share of the last 10 s in which some process waited for this resource (`cpu`, `io`), in percent; none without PSI.
#[must_use]
pub fn pressure(resource: &str) -> Option<f64> {
    some_avg10(&std::fs::read_to_string(format!("/proc/pressure/{resource}")).ok()?)
}

fn some_avg10(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.starts_with("some "))?;
    let value = line.split_whitespace().find_map(|w| w.strip_prefix("avg10="))?;
    value.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_format() {
        let text = "some avg10=12.34 avg60=1.00 avg300=0.10 total=99\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";
        assert_eq!(some_avg10(text), Some(12.34));
        assert_eq!(some_avg10(""), None);
    }
}
