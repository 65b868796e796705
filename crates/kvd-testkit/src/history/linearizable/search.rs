//! The search for an order of one key's operations. Owns the sequential meaning of an operation and the set of
//! configurations; knows nothing of other keys or of reports.
//!
//! It walks through the invocations and responses by time and keeps every *configuration* that explains the responses so
//! far: a state of the key, and which open operations have taken effect. Only a response extends configurations: the
//! operation must have taken effect by then, perhaps after others that are open. So the memory of the search is a window:
//! whatever has responded has done so in all configurations, and is forgotten.
//!
//! | why it stays small | |
//! |---|---|
//! | a read or a refusal that holds takes effect at once | taking it later could only be harder |
//! | values that no read found are all [`Content::Unseen`] | nobody can tell them apart |
//! | a write without response whose value was found gets that reader's response | it was done by then |
//! | of two that differ only in which other writes without response they used, the one with fewer is kept | it can do more |
//!
//! # Source
//! J. Wing and C. Gong, Testing and Verifying Concurrent Objects, 1993; G. Lowe, Testing for Linearizability, 2017, whose
//! just-in-time algorithm this is.

use std::collections::{HashMap, VecDeque};
use std::fmt;

use super::{Answer, Condition, KeyOperation, Operation, Record};

/// An operation as the search sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Its place in the key's records.
    pub(super) record: usize,
    invoked: u64,
    /// None for a write that may have been done at any time or never; otherwise it was done by then.
    pub(super) responded: Option<u64>,
    action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Get {
        found: Content,
        revision: Option<u64>,
        at_least: Option<u64>,
    },
    /// `content` is what the key becomes.
    Write {
        content: Content,
        condition: Condition,
        answer: Answer,
    },
}

impl Action {
    /// Whether it changes nothing but what is known of the state.
    fn is_passive(self) -> bool {
        matches!(self, Action::Get { .. } | Action::Write { answer: Answer::Refused, .. })
    }
}

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Content {
    Absent,
    Value(u64),
    /// A value that no read of the history found.
    Unseen,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct State {
    content: Content,
    /// That of the version; none for an absent key, and while no answer has said it.
    revision: Option<u64>,
    /// While no answer has said it: it is above this. Otherwise 0.
    above: u64,
    /// All later commits of this key have higher revisions.
    floor: u64,
}

#[derive(Clone, Copy, Debug)]
struct Configuration {
    state: State,
    /// A bit for each open operation with a response that has taken effect, by slot.
    done: u64,
    /// A bit for each write without response that was used, by its place in [`Search::optional`].
    used: u128,
}

/// Where the search ended: no configuration survives the response of a step.
#[derive(Debug)]
pub(super) struct DeadEnd {
    pub(super) step: usize,
    /// The states before.
    pub(super) states: Vec<String>,
}

/// The steps of one key's records, which are in the order of their invocations.
pub(super) fn prepare(records: &[Record<KeyOperation>]) -> Vec<Step> {
    let mut writers: HashMap<u64, usize> = HashMap::new();
    // By value found: the first response that shows it.
    let mut found_by: HashMap<u64, u64> = HashMap::new();
    for record in records {
        match (record.operation.operation, record.responded) {
            (Operation::Set { value, .. }, _) => *writers.entry(value).or_default() += 1,
            (Operation::Get { found: Some(version), .. }, Some(responded)) => {
                let first = found_by.entry(version.value).or_insert(responded);
                *first = responded.min(*first);
            }
            _ => {}
        }
    }
    let content = |value| if found_by.contains_key(&value) { Content::Value(value) } else { Content::Unseen };
    let mut steps = Vec::with_capacity(records.len());
    for (index, record) in records.iter().enumerate() {
        let mut responded = record.responded;
        let action = match record.operation.operation {
            Operation::Get { .. } if responded.is_none() => continue,
            Operation::Get { found: Some(version), at_least } => {
                Action::Get { found: Content::Value(version.value), revision: version.revision, at_least }
            }
            Operation::Get { found: None, at_least } => {
                Action::Get { found: Content::Absent, revision: None, at_least }
            }
            Operation::Set { value, condition, answer } => {
                if responded.is_none() && writers[&value] == 1 {
                    responded = found_by.get(&value).map(|&seen| seen.max(record.invoked));
                }
                Action::Write { content: content(value), condition, answer: known(record, answer) }
            }
            Operation::Delete { condition, answer } => {
                Action::Write { content: Content::Absent, condition, answer: known(record, answer) }
            }
        };
        steps.push(Step { record: index, invoked: record.invoked, responded, action });
    }
    steps
}

/// What is known of the answer of a write that has taken effect.
fn known(record: &Record<KeyOperation>, answer: Answer) -> Answer {
    if record.responded.is_some() { answer } else { Answer::Done { revision: None } }
}

/// # Errors
/// There is no order.
pub(super) fn search(steps: &[Step]) -> Result<(), DeadEnd> {
    let invocations = steps.iter().enumerate().map(|(index, step)| (step.invoked, false, index));
    let responses = steps.iter().enumerate().filter_map(|(index, step)| Some((step.responded?, true, index)));
    let mut events: Vec<(u64, bool, usize)> = invocations.chain(responses).collect();
    events.sort_unstable();
    let mut search = Search { steps, open: Vec::new(), optional: Vec::new() };
    let state = State { content: Content::Absent, revision: None, above: 0, floor: 0 };
    let mut configurations = vec![Configuration { state, done: 0, used: 0 }];
    for (_, is_response, index) in events {
        if !is_response {
            search.invoke(index);
            continue;
        }
        let next = search.respond(&configurations, index);
        if next.is_empty() {
            let mut states: Vec<String> = configurations.iter().map(|before| before.state.to_string()).collect();
            states.sort();
            states.dedup();
            return Err(DeadEnd { step: index, states });
        }
        configurations = next;
    }
    Ok(())
}

struct Search<'a> {
    steps: &'a [Step],
    /// Open operations that have a response, with their slots.
    open: Vec<(u32, usize)>,
    /// Writes without response, so far.
    optional: Vec<usize>,
}

impl Search<'_> {
    fn invoke(&mut self, index: usize) {
        if self.steps[index].responded.is_none() {
            assert!(
                self.optional.len() < 128,
                "more than 128 writes of one key have an unknown outcome; use more keys"
            );
            self.optional.push(index);
            return;
        }
        let taken = self.open.iter().fold(0u64, |taken, &(slot, _)| taken | 1 << slot);
        assert!(taken != u64::MAX, "more than 64 operations on one key are open at once");
        self.open.push((taken.trailing_ones(), index));
    }

    /// The configurations in which `index` has taken effect, without it.
    fn respond(&mut self, configurations: &[Configuration], index: usize) -> Vec<Configuration> {
        let at = self.open.iter().position(|&(_, open)| open == index).expect("a response follows its invocation");
        let (slot, _) = self.open.swap_remove(at);
        let bit = 1u64 << slot;
        let action = self.steps[index].action;
        let (mut next, mut seen) = (Frontier::default(), Frontier::default());
        let mut queue: VecDeque<Configuration> = VecDeque::new();
        for &configuration in configurations {
            if configuration.done & bit != 0 {
                next.insert(Configuration { done: configuration.done & !bit, ..configuration });
            } else {
                self.explore(configuration, &mut seen, &mut queue);
            }
        }
        while let Some(configuration) = queue.pop_front() {
            if let Some(state) = apply(action, configuration.state) {
                next.insert(Configuration { state, ..configuration });
                if action.is_passive() && state == configuration.state {
                    continue;
                }
            }
            for &(slot, other) in &self.open {
                if configuration.done & 1 << slot != 0 {
                    continue;
                }
                if let Some(state) = apply(self.steps[other].action, configuration.state) {
                    let done = configuration.done | 1 << slot;
                    self.explore(Configuration { state, done, ..configuration }, &mut seen, &mut queue);
                }
            }
            self.explore_optional(configuration, &mut seen, &mut queue);
        }
        next.into_configurations()
    }

    fn explore_optional(&self, before: Configuration, seen: &mut Frontier, queue: &mut VecDeque<Configuration>) {
        for (place, &index) in self.optional.iter().enumerate() {
            let action = self.steps[index].action;
            let is_free = |place: usize| before.used & 1 << place == 0;
            // Of several that are alike the first will do.
            let is_alike = |&(place, &other): &(usize, &usize)| is_free(place) && self.steps[other].action == action;
            if !is_free(place) || self.optional[..place].iter().enumerate().any(|other| is_alike(&other)) {
                continue;
            }
            if let Some(state) = apply(action, before.state) {
                self.explore(Configuration { state, used: before.used | 1 << place, ..before }, seen, queue);
            }
        }
    }

    /// Lets take effect what holds and changes nothing, and queues what is new.
    fn explore(&self, mut configuration: Configuration, seen: &mut Frontier, queue: &mut VecDeque<Configuration>) {
        for &(slot, open) in &self.open {
            let action = self.steps[open].action;
            if action.is_passive() && apply(action, configuration.state) == Some(configuration.state) {
                configuration.done |= 1 << slot;
            }
        }
        if seen.insert(configuration) {
            queue.push_back(configuration);
        }
    }
}

/// Configurations, of which none can do all that another can.
#[derive(Default)]
struct Frontier {
    /// Which optional writes were used: sets of which none contains another.
    used: HashMap<(State, u64), Vec<u128>>,
}

impl Frontier {
    /// Whether it is of use.
    fn insert(&mut self, configuration: Configuration) -> bool {
        let alternatives = self.used.entry((configuration.state, configuration.done)).or_default();
        if alternatives.iter().any(|used| used & configuration.used == *used) {
            return false;
        }
        alternatives.retain(|used| used & configuration.used != configuration.used);
        alternatives.push(configuration.used);
        true
    }

    fn into_configurations(self) -> Vec<Configuration> {
        let all = self.used.into_iter();
        all.flat_map(|((state, done), used)| used.into_iter().map(move |used| Configuration { state, done, used }))
            .collect()
    }
}

/// The state after an operation, if its answer is right in this one.
fn apply(action: Action, state: State) -> Option<State> {
    match action {
        Action::Get { found, revision, at_least } => {
            let state = if found == state.content { of_revision(state, revision)? } else { return None };
            Some(State { floor: state.floor.max(at_least.unwrap_or(0)), ..state })
        }
        Action::Write { content, condition, answer: Answer::Done { revision } } => {
            let state = fulfil(condition, state)?;
            let removes_nothing = content == Content::Absent && state.content == Content::Absent;
            let is_later = revision.is_none_or(|revision| revision > state.floor);
            let floor = state.floor.max(revision.unwrap_or(0));
            let next = match (content, revision) {
                (Content::Absent, _) => State { content, revision: None, above: 0, floor },
                (_, None) => State { content, revision, above: floor, floor },
                (_, Some(_)) => State { content, revision, above: 0, floor },
            };
            (is_later && !removes_nothing).then_some(next)
        }
        Action::Write { content, condition, answer: Answer::Refused } => {
            let removes_nothing = content == Content::Absent && state.content == Content::Absent;
            (removes_nothing || may_fail(condition, state)).then_some(state)
        }
    }
}

/// The state, if its version can be of this revision.
fn of_revision(state: State, revision: Option<u64>) -> Option<State> {
    match (state.revision, revision) {
        (_, None) => Some(state),
        (Some(own), Some(revision)) => (own == revision).then_some(state),
        (None, Some(revision)) => {
            let floor = state.floor.max(revision);
            (revision > state.above).then_some(State { revision: Some(revision), above: 0, floor, ..state })
        }
    }
}

fn fulfil(condition: Condition, state: State) -> Option<State> {
    match condition {
        Condition::Always => Some(state),
        Condition::Absent => (state.content == Content::Absent).then_some(state),
        Condition::Exists => (state.content != Content::Absent).then_some(state),
        Condition::Revision(_) if state.content == Content::Absent => None,
        Condition::Revision(revision) => of_revision(state, Some(revision)),
    }
}

fn may_fail(condition: Condition, state: State) -> bool {
    match condition {
        Condition::Always => false,
        Condition::Absent => state.content != Content::Absent,
        Condition::Exists => state.content == Content::Absent,
        // A version of unknown revision may be of any other.
        Condition::Revision(revision) => state.content == Content::Absent || state.revision != Some(revision),
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.content {
            Content::Absent => f.write_str("absent"),
            Content::Value(value) => write!(f, "{value}{}", super::at(self.revision)),
            Content::Unseen => write!(f, "a value that no read found{}", super::at(self.revision)),
        }
    }
}
