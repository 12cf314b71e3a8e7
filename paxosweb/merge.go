package paxosweb

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/spacetime"
	"github.com/singledecree/paxos/internal/words"
)

// maxPictured bounds the events of a picture. A decision without a duel has about 35.
const maxPictured = 400

// A picture is what the servers have noted of one instance, put together.
type picture struct {
	lanes  []string
	events []spacetime.Event
	cut    bool // there are more events than maxPictured
}

// A wire names a message on its way: the sender and its start, the receiver, the packet, and the message in it. A packet may hold
// the same message more than once.
type wire struct {
	from    life
	to      paxos.ServerID
	packet  uint64
	message paxos.Message
	nth     int
}

// wireOf returns the wire of a sending, a receipt or a drop.
func wireOf(e *paxos.Event) wire {
	w := wire{from: life{e.Server, e.Boot}, to: e.Peer, packet: e.Packet, message: e.Message}
	if e.Kind != paxos.EventSend {
		w.from, w.to = life{e.Peer, e.PeerBoot}, e.Server
	}
	return w
}

// A merger puts traces together. Two orders are certain: that of the events of one server, and that of the sending and the receipt
// of a message. The rest goes by the clocks of setClocks.
type merger struct {
	traces  []Trace
	lanes   map[paxos.ServerID]int
	next    []int    // by trace: the place of its next event
	wires   [][]wire // by trace and event: of a sending, a receipt or a drop
	offsets map[life]time.Duration
	sent    map[wire]int  // the number of each message whose sending is known
	gone    map[wire]bool // those of them that are in the picture already
	arrived map[wire]bool
	ops     map[string]string
	picture
}

// merge puts the traces of one instance together. There may be several starts of a server.
func merge(traces []Trace) picture {
	m := merger{traces: slices.Clone(traces), lanes: map[paxos.ServerID]int{}, sent: map[wire]int{}, gone: map[wire]bool{}, arrived: map[wire]bool{}, ops: map[string]string{}}
	slices.SortFunc(m.traces, func(a, b Trace) int {
		return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(a.Boot, b.Boot))
	})
	m.traces = slices.CompactFunc(m.traces, func(a, b Trace) bool { return a.Server == b.Server && a.Boot == b.Boot })
	for i := range m.traces {
		m.traces[i].Events = inActs(m.traces[i].Events)
	}
	m.next = make([]int, len(m.traces))
	m.findLanes()
	m.match()
	m.addEarlier()
	for m.step() {
	}
	return m.picture
}

// inActs returns the events of one server as a reader takes them in. Messages that leave together with the begin of a Save come
// before it, as a host does it: they do not wait for it. No two acts of a server have the same time: its order is known.
func inActs(events []paxos.Event) []paxos.Event {
	events = slices.Clone(events)
	for i := range events {
		for j := i; j > 0 && events[j].Kind == paxos.EventSend && events[j].At == events[j-1].At && isBegin(events[j-1].Kind); j-- {
			events[j], events[j-1] = events[j-1], events[j]
		}
	}
	for i := 1; i < len(events); i++ {
		a, b := &events[i-1], &events[i]
		if b.At <= a.At {
			b.At = a.At
			if a.Kind != paxos.EventSend || b.Kind != paxos.EventSend {
				b.At++
			}
		}
	}
	return events
}

func isBegin(kind paxos.EventKind) bool {
	return kind == paxos.EventSave || kind == paxos.EventRecord
}

// maxLanes is more than a cluster has servers.
const maxLanes = 128

// findLanes gives a lane to each server, in the order of their IDs. Events with servers beyond maxLanes are left out.
func (m *merger) findLanes() {
	var all []paxos.ServerID
	for _, t := range m.traces {
		all = append(all, t.Server)
		for _, e := range t.Events {
			if e.Peer != 0 {
				all = append(all, e.Peer)
			}
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	for i, id := range all[:min(len(all), maxLanes)] {
		m.lanes[id] = i
		m.picture.lanes = append(m.picture.lanes, fmt.Sprintf("server %d", id))
	}
	for i := range m.traces {
		t := &m.traces[i]
		t.Events = slices.DeleteFunc(t.Events, func(e paxos.Event) bool {
			_, peer := m.lanes[e.Peer]
			_, own := m.lanes[t.Server]
			return e.Peer != 0 && !peer || !own || e.Peer == t.Server
		})
	}
}

// match numbers the messages, and sets the clocks.
func (m *merger) match() {
	sent := map[wire]time.Duration{}
	count, lives := map[wire]int{}, []life(nil)
	for i, t := range m.traces {
		lives = append(lives, life{t.Server, t.Boot})
		m.wires = append(m.wires, make([]wire, len(t.Events)))
		for j := range t.Events {
			w := wireOf(&t.Events[j])
			if m.wires[i][j] = w; t.Events[j].Kind == paxos.EventSend {
				m.wires[i][j].nth = count[w]
				count[w]++
				w = m.wires[i][j]
				m.sent[w], sent[w] = len(m.sent)+1, t.Events[j].At
			}
		}
	}
	var flights []flight
	arrivals := map[wire]int{}
	for i, t := range m.traces {
		for j := range t.Events {
			e, w := &t.Events[j], m.wires[i][j]
			if !isArrival(e) {
				continue
			}
			m.wires[i][j].nth = arrivals[w] % max(count[w], 1) // all of them once more: the packet came twice
			arrivals[w]++
			w = m.wires[i][j]
			if m.arrived[w] = true; m.sent[w] != 0 {
				flights = append(flights, flight{from: w.from, to: life{t.Server, t.Boot}, sent: sent[w], received: e.At})
			}
		}
	}
	m.offsets = setClocks(lives, flights)
}

func isArrival(e *paxos.Event) bool {
	return e.Kind == paxos.EventReceive || e.Kind == paxos.EventDrop
}

// addEarlier adds the sendings that no trace has, before everything else: their servers have no trace, or keep them no more.
func (m *merger) addEarlier() {
	first, ok := m.first()
	if !ok {
		return
	}
	at := m.at(&m.traces[first], 0)
	for i, t := range m.traces {
		for j := range t.Events {
			e, w := &t.Events[j], m.wires[i][j]
			if !isArrival(e) || m.sent[w] != 0 {
				continue
			}
			m.sent[w] = len(m.sent) + 1
			m.gone[w] = true
			m.put(spacetime.Event{Kind: spacetime.Send, At: at, Lane: m.lanes[e.Peer], Peer: m.lanes[e.Server], Message: m.sent[w], Text: brief(e)})
		}
	}
}

// at returns the time of an event of t.
func (m *merger) at(t *Trace, event int) time.Duration {
	return t.Events[event].At + m.offsets[life{t.Server, t.Boot}]
}

// first returns the trace with the next event: the earliest one that may come now. An earlier start of a server comes before a
// later one, and a sending before its receipt. If a wrong trace allows none, the earliest comes.
func (m *merger) first() (trace int, ok bool) {
	best, bestFree := -1, false
	for i := range m.traces {
		t := &m.traces[i]
		if m.next[i] == len(t.Events) {
			continue
		}
		e, w := &t.Events[m.next[i]], m.wires[i][m.next[i]]
		free := !isArrival(e) || m.gone[w] || m.sent[w] == 0
		if i > 0 && m.traces[i-1].Server == t.Server && m.next[i-1] < len(m.traces[i-1].Events) {
			free = false
		}
		if best < 0 || free && !bestFree || free == bestFree && m.at(t, m.next[i]) < m.at(&m.traces[best], m.next[best]) {
			best, bestFree = i, free
		}
	}
	return best, best >= 0
}

// step takes the next event into the picture, and returns false at the end.
func (m *merger) step() bool {
	i, ok := m.first()
	if !ok || m.cut {
		return false
	}
	t := &m.traces[i]
	if m.next[i] == 0 && i > 0 && m.traces[i-1].Server == t.Server {
		m.put(spacetime.Event{Kind: spacetime.Restart, At: m.at(t, 0), Lane: m.lanes[t.Server], Text: fmt.Sprintf("starts again (boot %d)", t.Boot)})
	}
	from := m.next[i]
	m.next[i]++
	e, w := &t.Events[from], m.wires[i][from]
	d := spacetime.Event{Kind: spacetime.Note, At: m.at(t, from), Lane: m.lanes[t.Server]}
	if isArrival(e) && !m.gone[w] {
		return true // a wrong trace: nothing was sent before
	}
	switch e.Kind {
	case paxos.EventSend:
		m.send(d, e, w)
	case paxos.EventReceive, paxos.EventDrop:
		arrival := d
		arrival.Kind, arrival.Message = spacetime.Arrive, m.sent[w]
		m.put(arrival)
		if e.Kind == paxos.EventDrop {
			d.Symbol, d.Text = '✗', "dropped: "+errorText(e.Err)
			m.put(d)
		}
	case paxos.EventSave:
		d.Kind, d.Text = spacetime.Begin, "save"
		if from+1 < len(t.Events) && t.Events[from+1].Kind == paxos.EventRecord {
			d.Text = recordText(&t.Events[from+1])
			m.next[i]++
		}
		m.put(d)
	case paxos.EventSaved:
		d.Kind, d.Text = spacetime.End, "saved"
		m.put(d)
	case paxos.EventLearned:
		d.Symbol, d.Text = '★', "learns "+quote(e)
		if from+1 < len(t.Events) && t.Events[from+1].Kind == paxos.EventDone && t.Events[from+1].Err == nil && t.Events[from+1].At == e.At+1 {
			d.Text += ", returns it"
			m.next[i]++
		}
		m.put(d)
	case paxos.EventCall, paxos.EventDone:
		d.Symbol, d.Text = '◆', m.callText(e)
		m.put(d)
	case paxos.EventFault:
		d.Symbol, d.Text = '!', "protocol broken: "+errorText(e.Err)
		m.put(d)
	}
	return true
}

func (m *merger) put(e spacetime.Event) {
	if len(m.events) >= maxPictured {
		m.cut = true
		return
	}
	m.events = append(m.events, e)
}

// send adds a sending. The message is lost if the receiver got later packets of the sender, but not this one.
func (m *merger) send(d spacetime.Event, e *paxos.Event, w wire) {
	m.gone[w] = true
	d.Kind, d.Peer, d.Message, d.Text = spacetime.Send, m.lanes[e.Peer], m.sent[w], brief(e)
	m.put(d)
	if m.isLost(w) {
		d.Kind = spacetime.Lose
		m.put(d)
	}
}

func (m *merger) isLost(w wire) bool {
	if m.arrived[w] {
		return false
	}
	for _, t := range m.traces {
		if t.Server != w.to || t.More || t.Tracing.OneIn > 1 {
			continue
		}
		for _, h := range t.Heard {
			if h.Server == w.from.server && h.Boot == w.from.boot && h.First < w.packet && w.packet < h.Last {
				return true
			}
		}
	}
	return false
}

// callText says which call begins or ends.
func (m *merger) callText(e *paxos.Event) string {
	call := fmt.Sprintf("%d/%d/%d", e.Server, e.Boot, e.Call)
	if e.Kind == paxos.EventCall {
		m.ops[call] = e.Op
		if e.Op == "propose" {
			return "propose " + quote(e)
		}
		return e.Op
	}
	switch {
	case e.Err != nil:
		return "fails: " + errorText(e.Err)
	case !e.Message.Ballot.IsZero():
		return "returns " + quote(e)
	case m.ops[call] == "read":
		return "returns that nothing was chosen"
	}
	return "returns"
}

// recordText says what a record holds that is being saved.
func recordText(e *paxos.Event) string {
	rec := paxos.Record{Instance: e.Message.Instance, Chosen: e.Message.Kind == paxos.KindDecided,
		Acceptor: paxos.Acceptor{Promised: e.Message.Promised, Accepted: e.Message.Accepted, Value: e.Message.Value}}
	return strings.Replace(words.Record(rec), words.Quote(e.Message.Value), quote(e), 1)
}

// brief returns the message of a sending or a receipt, without the name of the instance.
func brief(e *paxos.Event) string {
	m := e.Message
	m.Instance = ""
	return strings.Replace(words.Brief(m), words.Quote(m.Value), quote(e), 1)
}

// quote returns the value of an event, a long one in part and with its length.
func quote(e *paxos.Event) string {
	v := e.Message.Value
	if e.Cut == 0 {
		return words.Quote(v)
	}
	return fmt.Sprintf("%q… %d bytes", string(v[:min(len(v), 24)]), len(v)+e.Cut)
}

// errorText is the text of an error, not too long for a diagram.
func errorText(err error) string {
	if err == nil {
		return "for no reason"
	}
	text := strings.TrimPrefix(err.Error(), "paxos: ")
	if runes := []rune(text); len(runes) > 160 {
		text = string(runes[:160]) + "…"
	}
	return text
}
