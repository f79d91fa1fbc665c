//! A plan as people read it: `stormbed check` prints it.

use std::fmt::Write as _;

use super::duration::format_ms;
use super::plan::{Draw, HOLD_MAX_MS, Hold, Plan, PlannedAct, PlannedStep, RESOLVE_WITHIN_MS};
use super::{Bound, RecoveryClock};

/// Draws of a storm that are listed; `--json` has them all.
const DRAWS_SHOWN: usize = 30;

/// The plan, with a line end after every line.
#[must_use]
pub fn show(plan: &Plan) -> String {
    let mut out = String::new();
    let steps = plan.steps.len();
    let faults = plan.faults().len();
    put(
        &mut out,
        0,
        &format!("{}: {}, {}, seed {}", plan.scenario, several(steps, "step"), several(faults, "fault"), plan.seed),
    );
    if !plan.about.is_empty() {
        put(&mut out, 1, &plan.about);
    }
    let nodes = plan.cluster.nodes.map(|nodes| several(nodes as usize, "node"));
    let prefix = plan.cluster.prefix.as_ref().map(|prefix| format!("host names {prefix}-0, {prefix}-1, …"));
    let asks: Vec<String> = nodes.into_iter().chain(prefix).collect();
    if !asks.is_empty() {
        put(&mut out, 1, &format!("on {}", asks.join(", ")));
    }
    for own in &plan.invariants {
        let every = format_ms(own.every_ms);
        put(&mut out, 1, &format!("own invariant {}: {} asked every {every}", own.name, own.question));
    }
    for abort in &plan.abort_if {
        put(
            &mut out,
            1,
            &format!("ends early when {} is broken for {}", abort.invariant, format_ms(abort.longer_than_ms)),
        );
    }
    for step in &plan.steps {
        show_step(&mut out, step);
    }
    out
}

fn show_step(out: &mut String, step: &PlannedStep) {
    let mut what = match &step.act {
        PlannedAct::Fault { kind, target, hold } => format!("{kind} {target}{}", held(*hold)),
        PlannedAct::Storm { for_ms, at_most, allow_quorum_loss, draws } => {
            let most = at_most.map_or(String::new(), |most| format!(", {most} at a time at most"));
            let loss = if *allow_quorum_loss { ", down to no quorum" } else { "" };
            format!("storm for {}: {}{most}{loss}", format_ms(*for_ms), several(draws.len(), "fault"))
        }
        PlannedAct::Watch { for_ms } => format!("watch for {}", format_ms(*for_ms)),
    };
    if step.together {
        what += ", at the same moment";
    } else if step.with_previous {
        what += ", with the step before";
    }
    if let Some(when) = step.when {
        what += &format!(", {when}");
    }
    if let Some(after) = &step.after {
        what += &format!(", {} after {} began", format_ms(after.ms), after.step);
    }
    if step.wait_ms > 0 {
        what += &format!(", {} after it could begin", format_ms(step.wait_ms));
    }
    if step.resolve_within_ms != RESOLVE_WITHIN_MS {
        what += &format!(", waiting up to {} for the role", format_ms(step.resolve_within_ms));
    }
    put(out, 1, &format!("{:<4} {what}", step.id));
    if let PlannedAct::Storm { draws, .. } = &step.act {
        for draw in draws.iter().take(DRAWS_SHOWN) {
            show_draw(out, draw);
        }
        if draws.len() > DRAWS_SHOWN {
            put(out, 3, &format!("and {} more", draws.len() - DRAWS_SHOWN));
        }
    }
    let list = |items: Vec<String>| items.join(", ");
    if !step.expect.is_empty() {
        put(out, 3, &format!("must cause {}", list(step.expect.iter().map(ToString::to_string).collect())));
    }
    if !step.meanwhile.is_empty() {
        let all = step.meanwhile.iter().map(|wanted| format!("{} {}", wanted.invariant, wanted.state)).collect();
        put(out, 3, &format!("while held: {}", list(all)));
    }
    for (clock, since) in [(RecoveryClock::Failover, "injection"), (RecoveryClock::Rejoin, "undo")] {
        let all: Vec<String> = step.recovered.iter().filter(|bound| bound.clock == clock).map(bound).collect();
        if !all.is_empty() {
            put(out, 3, &format!("must hold again after the {since}: {}", list(all)));
        }
    }
}

fn show_draw(out: &mut String, draw: &Draw) {
    let at = format!("+{:.1} s", std::time::Duration::from_millis(draw.at_ms).as_secs_f64());
    put(out, 3, &format!("{at:>8}  {:<6} {} {}{}", draw.id, draw.kind, draw.target, held(draw.hold)));
}

fn held(hold: Hold) -> String {
    match hold {
        Hold::Nothing => String::new(),
        Hold::For { ms } => format!(" for {}", format_ms(ms)),
        Hold::UntilConverged => format!(" until the others have taken over, at most {}", format_ms(HOLD_MAX_MS)),
    }
}

fn bound(bound: &Bound) -> String {
    let name = bound.invariant.map_or("all", |name| name.as_str());
    format!("{name} within {}", format_ms(bound.within_ms))
}

fn several(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn put(out: &mut String, indent: usize, line: &str) {
    writeln!(out, "{}{line}", "  ".repeat(indent)).expect("writing to a string never fails");
}
