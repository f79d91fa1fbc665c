//! Arithmetic on resources: sums, differences, containment, and Mesos's text notation.
//!
//! A scalar counts with three decimals, as in Mesos, so it is kept in thousandths: no drift, exact comparison. Parts keep
//! Mesos's order, which shows in offers and messages: what is added first stands first, and the last part takes the place of
//! one that is used up. Equality doesn't look at the order.

use std::collections::BTreeSet;

use super::types::{AllocationInfo, Items, Range, Ranges, ReservationInfo, Resource, Scalar, ValueType};

/// Thousandths in one.
const MILLI: f64 = 1000.0;

/// How much there is of one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Amount {
    /// Thousandths.
    Scalar(i64),
    /// Disjoint, ascending, inclusive.
    Ranges(Vec<(u64, u64)>),
    Set(BTreeSet<String>),
}

/// An amount of one thing for one role.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    name: String,
    /// Whom it is reserved for; `*` = unreserved.
    role: String,
    amount: Amount,
}

/// A bag of resources, by name, kind of value, and the role they are reserved for. Allocation is not part of it.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    parts: Vec<Part>,
}

impl PartialEq for Resources {
    fn eq(&self, other: &Self) -> bool {
        self.parts.len() == other.parts.len() && self.parts.iter().all(|part| other.parts.contains(part))
    }
}

impl Eq for Resources {}

impl Resources {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads wire resources. Exact zeros are left out.
    ///
    /// # Errors
    /// If one is ill-formed: a negative or vanishing amount, no value of its kind, a range that ends before it begins.
    pub fn of(resources: &[Resource]) -> Result<Self, String> {
        let mut sum = Self::new();
        for resource in resources {
            let amount = amount_of(resource).map_err(|why| format!("Resource '{resource}' is invalid: {why}"))?;
            if let Some(amount) = amount {
                let (name, role) = (resource.name.clone(), resource.reserved_for().to_owned());
                sum.add_part(Part { name, role, amount });
            }
        }
        Ok(sum)
    }

    /// Reads Mesos's notation: `cpus:2;mem:1024;ports:[31000-31100,32000-32000];cpus(role):1;zones:{a,b}`.
    ///
    /// # Errors
    /// If a part isn't `name:value` or `name(role):value`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
        let mut sum = Self::new();
        for part in parts {
            let bad = || format!("'{part}' is not a resource; expected name:2.5, name:[1-9] or name:{{a,b}}");
            let (name, value) = part.split_once(':').ok_or_else(bad)?;
            let name = name.trim();
            let (name, role) = match name.split_once('(') {
                Some((name, role)) => (name, role.strip_suffix(')').ok_or_else(bad)?),
                None => (name, "*"),
            };
            let amount = parse_amount(value.trim()).ok_or_else(bad)?;
            sum.add_part(Part { name: name.to_owned(), role: role.to_owned(), amount });
        }
        Ok(sum)
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The sum of a scalar over all roles; 0 if there is none.
    #[must_use]
    pub fn scalar(&self, name: &str) -> f64 {
        let milli = |part: &Part| match part.amount {
            Amount::Scalar(milli) if part.name == name => milli,
            _ => 0,
        };
        to_f64(self.parts.iter().map(milli).sum())
    }

    /// The names of all scalars.
    pub fn scalar_names(&self) -> BTreeSet<&str> {
        let scalars = self.parts.iter().filter(|part| matches!(part.amount, Amount::Scalar(_)));
        scalars.map(|part| part.name.as_str()).collect()
    }

    /// Adds others to these.
    pub fn add(&mut self, other: &Self) {
        for part in &other.parts {
            self.add_part(part.clone());
        }
    }

    /// Whether all of the others are here.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        let here = |wanted: &Part| self.parts.iter().any(|part| part.is_like(wanted) && part.contains(wanted));
        other.parts.iter().all(here)
    }

    /// Takes the others away; what isn't here is left out of account, so nothing goes below zero.
    pub fn subtract(&mut self, other: &Self) {
        for wanted in &other.parts {
            let Some(at) = self.parts.iter().position(|part| part.is_like(wanted)) else {
                continue;
            };
            self.parts[at].amount.subtract(&wanted.amount);
            if self.parts[at].amount.is_nothing() {
                self.parts.swap_remove(at);
            }
        }
    }

    /// Only those that may be allocated to a role: its own and those of the roles above it, then unreserved ones, scalars
    /// last. That is the order in which Mesos's allocator puts an offer together.
    #[must_use]
    pub fn allocatable_to(&self, role: &str) -> Self {
        let above = |reserved: &str| role.strip_prefix(reserved).is_some_and(|rest| rest.starts_with('/'));
        let rank = |part: &Part| match (part.role.as_str(), &part.amount) {
            ("*", Amount::Scalar(_)) => Some(2),
            ("*", _) => Some(1),
            (reserved, _) => (reserved == role || above(reserved)).then_some(0),
        };
        let mut parts: Vec<_> = self.parts.iter().filter(|part| rank(part).is_some()).cloned().collect();
        parts.sort_by_key(rank);
        Self { parts }
    }

    /// Only those that are reserved for a role; `*`: the unreserved ones.
    #[must_use]
    pub fn reserved_for(&self, role: &str) -> Self {
        Self { parts: self.parts.iter().filter(|part| part.role == role).cloned().collect() }
    }

    /// The roles that something is reserved for.
    #[must_use]
    pub fn reserving_roles(&self) -> BTreeSet<String> {
        self.parts.iter().filter(|part| part.role != "*").map(|part| part.role.clone()).collect()
    }

    /// The names and roles of all parts, each with its part.
    pub fn parts(&self) -> impl Iterator<Item = (&str, &str, Resource)> {
        self.parts.iter().map(|part| (part.name.as_str(), part.role.as_str(), part.amount.to_wire(&part.name)))
    }

    /// Wire resources in the refined format, allocated to a role if there is one.
    #[must_use]
    pub fn to_wire(&self, allocated_to: Option<&str>) -> Vec<Resource> {
        let allocation = allocated_to.map(|role| AllocationInfo { role: Some(role.to_owned()) });
        self.parts()
            .map(|(_, role, mut resource)| {
                if role != "*" {
                    resource.reservations.push(ReservationInfo {
                        kind: Some("STATIC".to_owned()),
                        role: Some(role.to_owned()),
                        principal: None,
                    });
                }
                resource.allocation_info.clone_from(&allocation);
                resource
            })
            .collect()
    }

    /// Wire resources in the pre-refinement format (`"role": "*"`).
    #[must_use]
    pub fn to_wire_unrefined(&self, allocated_to: Option<&str>) -> Vec<Resource> {
        let mut resources = self.to_wire(allocated_to);
        for resource in &mut resources {
            resource.role = Some(resource.reserved_for().to_owned());
            resource.reservations.clear();
        }
        resources
    }

    /// As Mesos writes it in messages: the parts, separated by `; `.
    #[must_use]
    pub fn describe(&self, allocated_to: Option<&str>) -> String {
        let parts = self.to_wire(allocated_to);
        let texts: Vec<_> = parts.iter().map(ToString::to_string).collect();
        texts.join("; ")
    }

    fn add_part(&mut self, part: Part) {
        if part.amount.is_nothing() {
            return;
        }
        match self.parts.iter_mut().find(|here| here.is_like(&part)) {
            Some(here) => here.amount.add(part.amount),
            None => self.parts.push(part),
        }
    }
}

impl Part {
    /// Whether two parts differ in their amounts alone.
    fn is_like(&self, other: &Self) -> bool {
        let same_kind = std::mem::discriminant(&self.amount) == std::mem::discriminant(&other.amount);
        self.name == other.name && self.role == other.role && same_kind
    }

    fn contains(&self, other: &Self) -> bool {
        self.amount.contains(&other.amount)
    }
}

impl Amount {
    fn is_nothing(&self) -> bool {
        match self {
            Self::Scalar(milli) => *milli <= 0,
            Self::Ranges(ranges) => ranges.is_empty(),
            Self::Set(items) => items.is_empty(),
        }
    }

    fn add(&mut self, other: Self) {
        match (self, other) {
            (Self::Scalar(here), Self::Scalar(more)) => *here += more,
            (Self::Ranges(here), Self::Ranges(more)) => {
                here.extend(more);
                *here = merge(std::mem::take(here));
            }
            (Self::Set(here), Self::Set(more)) => here.extend(more),
            // Parts of different kinds are never put together.
            _ => {}
        }
    }

    fn contains(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (Self::Scalar(here), Self::Scalar(wanted)) => here >= wanted,
            (Self::Ranges(here), Self::Ranges(wanted)) => {
                wanted.iter().all(|(b, e)| here.iter().any(|(begin, end)| begin <= b && e <= end))
            }
            (Self::Set(here), Self::Set(wanted)) => wanted.is_subset(here),
            _ => false,
        }
    }

    fn subtract(&mut self, other: &Self) {
        match (self, other) {
            (Self::Scalar(here), Self::Scalar(less)) => *here -= less,
            (Self::Ranges(here), Self::Ranges(less)) => {
                for cut in less {
                    *here = here.iter().flat_map(|range| without(*range, *cut)).collect();
                }
            }
            (Self::Set(here), Self::Set(less)) => here.retain(|item| !less.contains(item)),
            _ => {}
        }
    }

    fn to_wire(&self, name: &str) -> Resource {
        let mut resource = Resource::scalar(name, 0.0);
        resource.scalar = None;
        match self {
            Self::Scalar(milli) => {
                resource.scalar = Some(Scalar { value: to_f64(*milli) });
            }
            Self::Ranges(ranges) => {
                resource.kind = ValueType::Ranges;
                let range = |(begin, end): &(u64, u64)| Range { begin: *begin, end: *end };
                resource.ranges = Some(Ranges { range: ranges.iter().map(range).collect() });
            }
            Self::Set(items) => {
                resource.kind = ValueType::Set;
                resource.set = Some(Items { item: items.iter().cloned().collect() });
            }
        }
        resource
    }
}

#[expect(clippy::cast_precision_loss, reason = "amounts lie far below 2^53 thousandths")]
fn to_f64(milli: i64) -> f64 {
    milli as f64 / MILLI
}

/// Thousandths of a number; none if it is no amount.
#[expect(clippy::cast_possible_truncation, reason = "bounded one line above")]
fn to_milli(value: f64) -> Option<i64> {
    let milli = (value * MILLI).round();
    (0.0..1e15).contains(&milli).then_some(milli as i64)
}

/// A range without another: none, one or two ranges.
fn without((begin, end): (u64, u64), (cut_begin, cut_end): (u64, u64)) -> Vec<(u64, u64)> {
    if cut_end < begin || end < cut_begin {
        return vec![(begin, end)];
    }
    let mut rest = Vec::new();
    if begin < cut_begin {
        rest.push((begin, cut_begin - 1));
    }
    if cut_end < end {
        rest.push((cut_end + 1, end));
    }
    rest
}

/// Sorts ranges and joins those that touch or overlap.
fn merge(mut ranges: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (begin, end) in ranges {
        match merged.last_mut() {
            Some(last) if begin <= last.1.saturating_add(1) => last.1 = last.1.max(end),
            _ => merged.push((begin, end)),
        }
    }
    merged
}

/// What a wire resource amounts to; nothing if it is exactly zero.
fn amount_of(resource: &Resource) -> Result<Option<Amount>, String> {
    if resource.name.is_empty() {
        return Err("Empty resource name".to_owned());
    }
    match resource.kind {
        ValueType::Scalar => {
            let alone = resource.ranges.is_none() && resource.set.is_none();
            let value = resource.scalar.filter(|_| alone).ok_or("Invalid scalar resource")?.value;
            match to_milli(value) {
                Some(0) if value == 0.0 => Ok(None),
                Some(milli) if milli > 0 => Ok(Some(Amount::Scalar(milli))),
                _ => Err("Invalid scalar resource: value <= 0".to_owned()),
            }
        }
        ValueType::Ranges => {
            let alone = resource.scalar.is_none() && resource.set.is_none();
            let ranges = resource.ranges.as_ref().filter(|_| alone).ok_or("Invalid ranges resource")?;
            if ranges.range.iter().any(|range| range.begin > range.end) {
                return Err("Invalid ranges resource: begin > end".to_owned());
            }
            let ranges = ranges.range.iter().map(|range| (range.begin, range.end));
            Ok(Some(Amount::Ranges(merge(ranges.collect()))))
        }
        ValueType::Set => {
            let alone = resource.scalar.is_none() && resource.ranges.is_none();
            let set = resource.set.as_ref().filter(|_| alone).ok_or("Invalid set resource")?;
            Ok(Some(Amount::Set(set.item.iter().cloned().collect())))
        }
        ValueType::Text | ValueType::Unrecognised => Err("Unsupported resource type".to_owned()),
    }
}

fn parse_amount(text: &str) -> Option<Amount> {
    let list = |open: char, close: char| {
        let inner = text.strip_prefix(open)?.strip_suffix(close)?;
        Some(inner.split(',').map(str::trim).filter(|item| !item.is_empty()))
    };
    if let Some(items) = list('[', ']') {
        let range = |item: &str| {
            let (begin, end) = item.split_once('-')?;
            let range: (u64, u64) = (begin.trim().parse().ok()?, end.trim().parse().ok()?);
            (range.0 <= range.1).then_some(range)
        };
        let ranges: Option<Vec<_>> = items.map(range).collect();
        return Some(Amount::Ranges(merge(ranges?)));
    }
    if let Some(items) = list('{', '}') {
        return Some(Amount::Set(items.map(str::to_owned).collect()));
    }
    Some(Amount::Scalar(to_milli(text.parse().ok()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Resources {
        Resources::parse(text).unwrap()
    }

    #[test]
    fn the_notation_reads_every_kind() {
        let all = parse("cpus:2;mem:1024;ports:[31000-31100];cpus(demo):0.5;zones:{a,b};");
        assert_eq!(all.scalar("cpus"), 2.5);
        assert_eq!(all.scalar("mem"), 1024.0);
        assert_eq!(all.allocatable_to("other").scalar("cpus"), 2.0);
        assert_eq!(Resources::of(&all.to_wire(Some("demo"))), Ok(all.clone()));
        assert_eq!(Resources::of(&all.to_wire_unrefined(None)), Ok(all));
        for bad in ["cpus", "cpus:x", "ports:[9-1]", "cpus(a:1", "cpus:-1"] {
            assert!(Resources::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn three_decimals_count() {
        let of = |value| Resources::of(&[Resource::scalar("cpus", value)]);
        assert!(of(0.0001).is_err());
        assert!(of(-1.0).is_err());
        assert!(of(f64::NAN).is_err());
        assert_eq!(of(0.0), Ok(Resources::new()));
        assert_eq!(of(0.1).unwrap().scalar("cpus"), 0.1);
    }

    #[test]
    fn a_range_gives_pieces() {
        let mut ports = parse("ports:[1-10]");
        ports.subtract(&parse("ports:[3-4]"));
        assert_eq!(ports, parse("ports:[1-2,5-10]"));
        assert!(!ports.contains(&parse("ports:[2-5]")));
        ports.add(&parse("ports:[3-4]"));
        assert_eq!(ports, parse("ports:[1-10]"));
    }

    /// As in the recordings `subscribe-static-reservation-attributes` and `offers-two-agents`.
    #[test]
    fn the_order_is_that_of_the_allocator() {
        let names = |bag: &Resources| bag.parts().map(|(name, role, _)| format!("{name}({role})")).collect::<Vec<_>>();
        let mut all = parse("cpus:1;cpus(demo):1;mem:512;mem(other/sub):256;disk:9;ports:[1-2];bag:{a,b}");
        let demo = ["cpus(demo)", "ports(*)", "bag(*)", "cpus(*)", "mem(*)", "disk(*)"];
        assert_eq!(names(&all.allocatable_to("demo")), demo);
        assert!(all.allocatable_to("other/sub/x").scalar("mem") > 512.0);
        assert!(all.allocatable_to("other/sublime").scalar("mem") < 513.0);
        all.subtract(&parse("cpus:1"));
        assert_eq!(names(&all)[0], "bag(*)");
        let mut rest = parse("cpus:2;mem:1024;disk:1024;ports:[1-9]");
        rest.subtract(&parse("ports:[1-9];cpus:0.5;mem:512;disk:1024"));
        assert_eq!(
            rest.allocatable_to("demo").describe(Some("demo")),
            "cpus(allocated: demo):1.5; mem(allocated: demo):512"
        );
    }

    #[test]
    fn a_name_of_two_kinds_is_two_things() {
        let both = parse("a:1;a:{x}");
        assert!(both.contains(&parse("a:{x}")) && both.contains(&parse("a:1")));
        assert!(!parse("a:{x}").contains(&parse("a:1")));
    }

    prop_compose! {
        fn bag()(cpus in 0u32..5000, mem in 0u32..5000, ports in prop::collection::vec((0u64..40, 0u64..5), 0..4)) -> Resources {
            let ports: Vec<_> = ports.iter().map(|(b, n)| format!("{b}-{}", b + n)).collect();
            parse(&format!("cpus:{};mem:{};ports:[{}]", f64::from(cpus) / 1000.0, f64::from(mem) / 10.0, ports.join(",")))
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_and_given_back_is_the_same(mut all in bag(), part in bag()) {
            all.subtract(&part);
            all.add(&part);
            prop_assert!(all.contains(&part));
            let mut rest = all.clone();
            rest.subtract(&part);
            prop_assert!(part.is_empty() || !rest.contains(&all));
            rest.add(&part);
            prop_assert_eq!(rest, all);
        }
    }
}
