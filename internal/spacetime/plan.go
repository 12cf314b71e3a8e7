package spacetime

import (
	"slices"
	"time"
)

// A row is what one line of the diagram shows: either marks on lanes, or one sending with its arrows.
type row struct {
	start, end time.Duration
	marks      []mark
	from       int // the arrows' lane
	arrows     []arrow
}

// A mark is something that happened on one lane.
type mark struct {
	lane   int
	symbol rune
	text   string
	state  state // of the lane from here on
}

// A state is how a lane looks.
type state uint8

const (
	stateSame state = iota
	stateUp
	stateBusy
	stateDown
	statePaused
)

// An arrow goes from its row's lane to another. Its number, if not 0, joins a half arrow with the other half.
type arrow struct {
	message int
	to      int
	text    string
	lost    bool
	half    half
	number  int
}

type half uint8

const (
	whole  half = iota
	leaves      // arrives in another row, or nobody knows
	enters      // has left in another row
)

// A planner turns events into the nodes of a graph, and those into rows.
type planner struct {
	graph
	last  []int // by lane: its latest node, or -1
	open  []int // by lane: the node of the Begin that has not ended, or -1
	sends map[int]sending
	lost  map[int]bool // messages that were lost at once
	joins []joining
}

// A sending is where a message left.
type sending struct {
	node    int
	lane    int
	peer    int
	text    string
	arrived bool
}

// A joining is two nodes that would share a row.
type joining struct{ first, second int }

// plan returns the rows of the diagram, from the top.
func plan(lanes int, events []Event) []row {
	p := planner{sends: map[int]sending{}}
	for range lanes {
		p.last, p.open = append(p.last, -1), append(p.open, -1)
	}
	events, p.lost = byAct(lanes, events)
	for _, e := range events {
		p.take(e)
	}
	p.join()
	rows := p.rows()
	number(rows)
	return rows
}

// take puts e into the row of the latest node of its lane, or into one of its own.
func (p *planner) take(e Event) {
	lane := e.Lane
	if e.Kind == Arrive || e.Kind == Lose {
		lane = p.sends[e.Message].peer
	}
	n := p.last[lane]
	if n < 0 || !p.nodes[n].row.shares(e) {
		n = p.add(row{start: e.At, end: e.At, from: e.Lane})
		if p.last[lane] >= 0 {
			p.after(p.last[lane], n)
		}
		p.last[lane] = n
	}
	r := &p.nodes[n].row
	switch e.Kind {
	case Send:
		p.sends[e.Message] = sending{node: n, lane: e.Lane, peer: e.Peer, text: e.Text}
		a := arrow{message: e.Message, to: e.Peer, text: e.Text, half: leaves}
		if p.lost[e.Message] {
			a.half, a.lost = whole, true
		}
		r.arrows = append(r.arrows, a)
	case Arrive, Lose:
		p.arrive(e, n)
	default:
		p.mark(e, n)
	}
}

// shares reports whether e goes into row r, the latest on its lane. It does if it is another copy of a message to several servers, or
// happened at the same time.
func (r *row) shares(e Event) bool {
	switch {
	case r.start != e.At || r.end != e.At:
		return false
	case e.Kind == Send:
		return len(r.arrows) > 0 && r.arrows[0].half != enters && r.arrows[0].text == e.Text &&
			!slices.ContainsFunc(r.arrows, func(a arrow) bool { return a.to == e.Peer })
	case e.Kind == Note:
		return len(r.marks) > 0 && r.marks[0].state == stateSame
	}
	return false
}

// arrive makes node n the arrival or the loss of a message. The first one shares the row of the sending, unless it is late.
func (p *planner) arrive(e Event, n int) {
	s := p.sends[e.Message]
	r := &p.nodes[n].row
	r.from = s.lane
	r.arrows = []arrow{{message: e.Message, to: s.peer, text: s.text, lost: e.Kind == Lose, half: enters}}
	p.after(s.node, n)
	if !s.arrived && !e.Late {
		p.joins = append(p.joins, joining{s.node, n})
	}
	s.arrived = true
	p.sends[e.Message] = s
}

// mark adds e to node n as something that happened on one lane.
func (p *planner) mark(e Event, n int) {
	m := mark{lane: e.Lane, symbol: e.Symbol, text: e.Text}
	switch e.Kind {
	case Begin:
		m.symbol, m.state = SymbolBegin, stateBusy
		p.open[e.Lane] = n
	case End:
		m.symbol, m.state = SymbolEnd, stateUp
		if p.open[e.Lane] >= 0 {
			p.joins = append(p.joins, joining{p.open[e.Lane], n})
		}
		p.open[e.Lane] = -1
	case Crash:
		m.symbol, m.state = SymbolCrash, stateDown
		p.open[e.Lane] = -1
	case Restart:
		m.symbol, m.state = SymbolRestart, stateUp
	case Pause:
		m.symbol, m.state = SymbolPause, statePaused
	case Resume:
		m.symbol, m.state = SymbolResume, stateUp
	}
	r := &p.nodes[n].row
	if len(r.marks) > 0 {
		r.marks[0].text += ", " + m.text
		return
	}
	r.marks = append(r.marks, m)
}

// join has two nodes share a row wherever the order of every lane allows it.
func (p *planner) join() {
	for _, j := range p.joins {
		if a, ok := p.contract(j.first, j.second); ok {
			p.nodes[a].row.absorb(p.nodes[j.second].row)
		}
	}
}

// absorb puts the end of something into the row of its beginning.
func (r *row) absorb(end row) {
	r.end = max(r.end, end.end)
	if len(end.marks) > 0 {
		r.marks[0].symbol, r.marks[0].state = end.marks[0].symbol, end.marks[0].state
		return
	}
	for i := range r.arrows {
		if a := &r.arrows[i]; a.message == end.arrows[0].message {
			a.half, a.lost = whole, end.arrows[0].lost
		}
	}
}

// number gives a number to the sendings of which an arrival has a row of its own, from the top.
func number(rows []row) {
	sent := map[int]int{} // by message: the row of its sending
	wants := map[int]bool{}
	for i := range rows {
		for _, a := range rows[i].arrows {
			if a.half != enters {
				sent[a.message] = i
				continue
			}
			wants[sent[a.message]] = true
		}
	}
	numbers, next := map[int]int{}, 1
	for i := range rows {
		if wants[i] {
			numbers[i] = next
			next++
		}
		for j := range rows[i].arrows {
			a := &rows[i].arrows[j]
			a.number = numbers[sent[a.message]]
		}
	}
}
