//! Cycles of the graph: of each part that hangs together a shortest one, of the kinds of edges that say most. Knows
//! nothing of what a cycle is called.

use std::collections::VecDeque;

use super::graph::{Edge, Edges, Graph, PROCESS, REALTIME, REVISION, RW, WR, WW};

/// At most so many parts of the graph are reported.
const CYCLES_MAX: usize = 8;

/// From so many nodes or edges of a part a shortest cycle is looked for.
const STARTS_MAX: usize = 64;

/// Kinds of edges, in the order in which cycles are looked for: what needs fewer orders is worse and easier to explain.
const LEVELS: [Edges; 20] = {
    let orders = [0, PROCESS, PROCESS | REALTIME, REVISION, PROCESS | REALTIME | REVISION];
    let dependencies = [0, WW, WW | WR, WW | WR | RW];
    let mut levels = [0; 20];
    let mut place = 0;
    while place < levels.len() {
        levels[place] = orders[place / dependencies.len()] | dependencies[place % dependencies.len()];
        place += 1;
    }
    levels
};

const ALL: Edges = LEVELS[19];

/// From a transaction to the next of a cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) kind: Edges,
    pub(super) key: u64,
}

/// The nodes that a search may enter, and by which edges.
struct Scope<'a> {
    graph: &'a Graph,
    /// For each node, the number of the part it belongs to.
    parts: &'a [usize],
    part: usize,
    kinds: Edges,
}

impl Graph {
    /// One cycle for each part that hangs together; none if there is no cycle.
    pub(super) fn cycles(&self) -> Vec<Vec<Hop>> {
        let mut parts = vec![0; self.edges.len()];
        let whole = Scope { graph: self, parts: &parts, part: 0, kinds: ALL };
        let mut components = whole.components(&(0..self.edges.len()).collect::<Vec<_>>());
        components.sort_by_key(Vec::len);
        components.truncate(CYCLES_MAX);
        for (number, component) in components.iter().enumerate() {
            component.iter().for_each(|&node| parts[node] = number + 1);
        }
        let cycle_in = |(number, component): (usize, &Vec<usize>)| {
            let levels = LEVELS.iter().map(|&kinds| Scope { graph: self, parts: &parts, part: number + 1, kinds });
            let mut cycles = levels.filter_map(|scope| scope.cycle(component));
            cycles.next().expect("a component of all edges has a cycle of all edges")
        };
        components.iter().enumerate().map(cycle_in).collect()
    }
}

impl Scope<'_> {
    fn edges(&self, node: usize) -> impl Iterator<Item = &Edge> {
        let enters = |edge: &&Edge| edge.kind & self.kinds != 0 && self.parts[edge.to] == self.part;
        self.graph.edges[node].iter().filter(enters)
    }

    /// A short cycle, with a single `rw` edge if there is one such.
    fn cycle(&self, nodes: &[usize]) -> Option<Vec<Hop>> {
        let smallest = self.components(nodes).into_iter().min_by_key(Vec::len)?;
        let mut parts = vec![0; self.graph.edges.len()];
        smallest.iter().for_each(|&node| parts[node] = 1);
        let inner = Scope { graph: self.graph, parts: &parts, part: 1, kinds: self.kinds };
        let mut transactions = smallest.clone();
        transactions.retain(|&node| node < self.graph.transactions);
        transactions.sort_unstable();
        let conflicts = transactions.iter().flat_map(|&from| inner.edges(from).map(move |&edge| (from, edge)));
        let conflicts: Vec<(usize, Edge)> = conflicts.filter(|(_, edge)| edge.kind == RW).collect();
        let single = Scope { kinds: self.kinds & !RW, ..inner };
        let closed =
            spread(&conflicts).filter_map(|&(from, edge)| single.path(edge.to, from).map(|back| (from, edge, back)));
        let shortest = closed.min_by_key(|(_, _, back)| back.len());
        if let Some((from, Edge { to, kind, key }, back)) = shortest {
            return Some(std::iter::once(Hop { from, to, kind, key }).chain(back).collect());
        }
        let inner = Scope { kinds: self.kinds, ..single };
        let cycles = spread(&transactions).filter_map(|&start| inner.path(start, start));
        Some(cycles.min_by_key(Vec::len).expect("each node of a component lies on a cycle"))
    }

    /// A path with the fewest hops, at least one.
    fn path(&self, from: usize, to: usize) -> Option<Vec<Hop>> {
        let mut came_by: Vec<Option<(usize, Edge)>> = vec![None; self.graph.edges.len()];
        let mut queue = VecDeque::from([from]);
        // A chain is walked through before the next hop, so that its length doesn't count.
        while let Some(node) = queue.pop_front() {
            for &edge in self.edges(node) {
                if came_by[edge.to].is_some() {
                    continue;
                }
                came_by[edge.to] = Some((node, edge));
                if edge.to == to {
                    return Some(self.hops(from, to, &came_by));
                }
                if edge.to < self.graph.transactions { queue.push_back(edge.to) } else { queue.push_front(edge.to) }
            }
        }
        None
    }

    fn hops(&self, from: usize, to: usize, came_by: &[Option<(usize, Edge)>]) -> Vec<Hop> {
        let mut hops: Vec<Hop> = Vec::new();
        let mut end = to;
        let mut node = to;
        loop {
            let (before, edge) = came_by[node].expect("a path has no holes");
            if before < self.graph.transactions {
                hops.push(Hop { from: before, to: end, kind: edge.kind, key: edge.key });
                end = before;
            }
            node = before;
            if node == from {
                break;
            }
        }
        hops.reverse();
        hops
    }

    /// Sets of nodes of which each leads to each other, by Tarjan's algorithm; those of one node are left out.
    fn components(&self, nodes: &[usize]) -> Vec<Vec<usize>> {
        const NEW: usize = usize::MAX;
        let size = self.graph.edges.len();
        let (mut number, mut low, mut is_on_stack) = (vec![NEW; size], vec![0; size], vec![false; size]);
        let (mut stack, mut components, mut next) = (Vec::new(), Vec::new(), 0);
        // Nodes that are being visited, with how many of their edges were followed.
        let mut visits: Vec<(usize, usize)> = Vec::new();
        for &root in nodes {
            if number[root] == NEW {
                visits.push((root, 0));
            }
            while let Some((node, followed)) = visits.pop() {
                if followed == 0 {
                    (number[node], low[node], is_on_stack[node]) = (next, next, true);
                    next += 1;
                    stack.push(node);
                }
                let mut descends = false;
                for (place, edge) in self.graph.edges[node].iter().enumerate().skip(followed.saturating_sub(1)) {
                    if edge.kind & self.kinds == 0 || self.parts[edge.to] != self.part {
                        continue;
                    }
                    if number[edge.to] == NEW {
                        // To come back to this very edge, which then takes over what was found behind it.
                        visits.extend([(node, place + 1), (edge.to, 0)]);
                        descends = true;
                        break;
                    }
                    if is_on_stack[edge.to] {
                        low[node] = low[node].min(low[edge.to]);
                    }
                }
                if !descends && low[node] == number[node] {
                    let start = stack.iter().rposition(|&other| other == node).expect("a visited node is on the stack");
                    let component = stack.split_off(start);
                    component.iter().for_each(|&member| is_on_stack[member] = false);
                    if component.len() > 1 {
                        components.push(component);
                    }
                }
            }
        }
        components
    }
}

/// At most [`STARTS_MAX`] of these, from everywhere.
fn spread<T>(all: &[T]) -> impl Iterator<Item = &T> {
    all.iter().step_by(all.len().div_ceil(STARTS_MAX).max(1))
}
