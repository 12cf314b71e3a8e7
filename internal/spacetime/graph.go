package spacetime

import (
	"cmp"
	"slices"
)

// A graph is the order of what happened, as far as each lane knows it. It never has a cycle.
type graph struct{ nodes []node }

// A node becomes one row, or part of one.
type node struct {
	row  row
	next []int // nodes that come after it on some lane
	into int   // the node that it was contracted into, or itself
}

func (g *graph) add(r row) int {
	g.nodes = append(g.nodes, node{row: r, into: len(g.nodes)})
	return len(g.nodes) - 1
}

// after notes that node n comes after node m.
func (g *graph) after(m, n int) { g.nodes[m].next = append(g.nodes[m].next, n) }

func (g *graph) root(n int) int {
	for g.nodes[n].into != n {
		n = g.nodes[n].into
	}
	return n
}

// contract makes node b a part of node a, which it returns, unless something has to come between the two.
func (g *graph) contract(a, b int) (root int, ok bool) {
	a, b = g.root(a), g.root(b)
	if a == b || g.between(a, b) || g.between(b, a) {
		return a, false
	}
	g.nodes[b].into = a
	g.nodes[a].next = append(g.nodes[a].next, g.nodes[b].next...)
	return a, true
}

// between reports whether a way leads from a to b over some third node.
func (g *graph) between(a, b int) bool {
	seen := make([]bool, len(g.nodes))
	var leads func(n int) bool
	leads = func(n int) bool {
		seen[n] = true
		for _, m := range g.nodes[n].next {
			if m = g.root(m); m == b && n != a || m != b && !seen[m] && leads(m) {
				return true
			}
		}
		return false
	}
	return leads(a)
}

// rows returns the rows in an order that every lane agrees with: by the time at which they begin, as far as that goes.
// Marks that begin and end at the same times on different lanes share a row.
func (g *graph) rows() (rows []row) {
	before := g.before()
	var ready []int
	for n := range g.nodes {
		if g.root(n) == n && before[n] == 0 {
			ready = append(ready, n)
		}
	}
	take := func(n int) row {
		ready = slices.DeleteFunc(ready, func(m int) bool { return m == n })
		for m := range g.following(n) {
			if before[m]--; before[m] == 0 {
				ready = append(ready, m)
			}
		}
		return g.nodes[n].row
	}
	for len(ready) > 0 {
		slices.SortFunc(ready, func(a, b int) int {
			return cmp.Or(cmp.Compare(g.nodes[a].row.start, g.nodes[b].row.start), cmp.Compare(a, b))
		})
		others := slices.Clone(ready[1:])
		r := take(ready[0])
		for _, n := range others {
			if o := g.nodes[n].row; len(r.marks) > 0 && len(o.marks) > 0 && o.start == r.start && o.end == r.end {
				r.marks = append(slices.Clip(r.marks), take(n).marks...)
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// before counts, for each node, the steps that lead to it.
func (g *graph) before() []int {
	before := make([]int, len(g.nodes))
	for n := range g.nodes {
		for m := range g.following(n) {
			before[m]++
		}
	}
	return before
}

// following yields the nodes that come after n, once for each step that leads there; none if n is part of another.
func (g *graph) following(n int) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		if g.root(n) != n {
			return
		}
		for _, m := range g.nodes[n].next {
			if m = g.root(m); m != n && !yield(m) {
				return
			}
		}
	}
}
