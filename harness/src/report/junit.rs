//! `junit.xml`: one test case per scenario, as every CI server reads it.

use std::fmt::Write as _;

use super::{Report, ScenarioReport, Verdict};

/// The whole file.
#[must_use]
pub fn junit(report: &Report) -> String {
    let count = |wanted: &[Verdict]| report.scenarios.iter().filter(|s| wanted.contains(&s.verdict)).count();
    let failures = count(&[Verdict::Fail]);
    let errors = count(&[Verdict::Broken, Verdict::Invalid, Verdict::Interrupted]);
    let tests = report.scenarios.len();
    let took = seconds(report.took_ms);
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    put(
        &mut text,
        &format!("<testsuites tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{took}\">\n"),
    );
    put(
        &mut text,
        &format!(
            "  <testsuite name=\"stormbed {}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{took}\">\n",
            escaped(&report.run)
        ),
    );
    if !report.parts.is_empty() {
        put(&mut text, "    <properties>\n");
        for (part, version) in &report.parts {
            put(&mut text, &format!("      <property name=\"{}\" value=\"{}\"/>\n", escaped(part), escaped(version)));
        }
        put(&mut text, "    </properties>\n");
    }
    for scenario in &report.scenarios {
        test_case(&mut text, scenario);
    }
    text += "  </testsuite>\n</testsuites>\n";
    text
}

fn test_case(text: &mut String, scenario: &ScenarioReport) {
    let name = escaped(&scenario.name);
    let time = seconds(scenario.took_ms);
    let element = match scenario.verdict {
        Verdict::Pass => {
            put(text, &format!("    <testcase classname=\"stormbed\" name=\"{name}\" time=\"{time}\"/>\n"));
            return;
        }
        Verdict::Fail => "failure",
        Verdict::Broken | Verdict::Invalid | Verdict::Interrupted => "error",
    };
    let first = scenario.why.first().map_or("no reason was given", |finding| finding.why.as_str());
    put(text, &format!("    <testcase classname=\"stormbed\" name=\"{name}\" time=\"{time}\">\n"));
    put(text, &format!("      <{element} type=\"{}\" message=\"{}\">", scenario.verdict, escaped(first)));
    for finding in &scenario.why {
        let at = finding.at.map_or(String::new(), |at| format!(" at {at}"));
        put(text, &format!("\n{}{at}: {}", finding.verdict, escaped(&finding.why)));
    }
    put(text, &format!("\n      </{element}>\n    </testcase>\n"));
}

fn put(text: &mut String, more: &str) {
    write!(text, "{more}").expect("writing to a string never fails");
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

/// XML 1.0 knows five entities, and no control characters but tab and line ends.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&apos;"),
            '\n' => safe.push_str("&#10;"),
            '\t' => safe.push('\t'),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn what_ci_reads() {
        insta::assert_snapshot!(junit(&sample::report()));
    }

    #[test]
    fn nothing_breaks_out_of_the_markup() {
        assert_eq!(escaped("a<b>&\"'\u{1b}[0m"), "a&lt;b&gt;&amp;&quot;&apos;\u{fffd}[0m");
    }
}
