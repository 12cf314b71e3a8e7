package replica

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// A pump runs Replicas in one goroutine: packets go over at once, in order, unless lose says that they are lost. Saves end at once,
// unless hold says that they don't. The Oracle of its cluster judges every save, every packet and every decision.
type pump struct {
	*cluster
	t        *testing.T
	now      time.Duration
	replicas map[paxos.ServerID]*Replica
	held     map[paxos.ServerID]*paxos.Batch // Saves that run
	hold     func(id paxos.ServerID) bool
	lose     func(p paxos.Packet, m paxos.Message) bool
	queue    []paxos.Packet
	sent     []string      // every message that left, in text: "1 -> 2: prepare 1.1"; those of catching up if pulls is set
	asked    []paxos.Value // the value of every Accept that left
	pulls    bool
	classic  bool // no server stands by itself
	saves    map[paxos.ServerID]int
	done     map[CallID]Done
	faults   []*paxos.SafetyError
	stops    map[paxos.ServerID]error
	lives    uint64
	limits   paxos.Limits
	timing   paxos.Timing
	seed     uint64
	trace    bool
	events   []paxos.Event
	batches  []paxos.Batch  // every one that began, with Records of its own
	slow     bool           // Loads wait in loads for the test
	loads    []string       // asked for by anybody
	late     paxos.ServerID // the pages of decisions of this server are read at once, and wait in pages for the test
	pages    []listed
	seqs     uint64 // of hear

	// Steps that a test takes over. Nil: the pump does it.
	look  func(id paxos.ServerID, out *Output)             // beside the pump, at each Output
	carry func(p paxos.Packet)                             // in place of lose, queue and sent
	disk  func(id paxos.ServerID, write bool, ends func()) // when a read or a Save ends; nil: at once
}

func newPump(t *testing.T, m paxos.Members) *pump {
	return &pump{cluster: newCluster(t, m), t: t, replicas: map[paxos.ServerID]*Replica{}, held: map[paxos.ServerID]*paxos.Batch{},
		saves: map[paxos.ServerID]int{}, done: map[CallID]Done{}, stops: map[paxos.ServerID]error{}, seed: 1,
		timing: paxos.Timing{Pull: time.Hour}}
}

// newPumpOf returns a pump of n acceptors that run, their first Saves done.
func newPumpOf(t *testing.T, n int) *pump {
	p := newPump(t, membersOf(n))
	p.startAll()
	return p
}

// newSolo returns a pump of n acceptors of which only server 1 runs: the test plays the others, see hear.
func newSolo(t *testing.T, n int) *pump {
	p := newPump(t, membersOf(n))
	p.Unseen = true
	p.start(1)
	p.run()
	clear(p.saves)
	return p
}

// packet is what a healthy server would send.
func (p *pump) packet(from, to paxos.ServerID, ms ...paxos.Message) paxos.Packet {
	p.seqs++
	return paxos.Packet{From: from, To: to, Store: 100 + uint64(from), Boot: 1, Nonce: uint64(from), Members: p.members.Fingerprint(),
		Seq: p.seqs, Messages: ms}
}

// hear gives server to messages from another, and carries out what comes of it; it returns what left.
func (p *pump) hear(to, from paxos.ServerID, ms ...paxos.Message) []string {
	return p.during(func() {
		p.deliver(p.packet(from, to, ms...))
		p.run()
	})
}

// deliver gives a packet to the server that it is for, if that runs.
func (p *pump) deliver(packet paxos.Packet) bool {
	r := p.replicas[packet.To]
	if r == nil {
		return false
	}
	p.Arrived(p.servers[packet.To], &packet)
	r.Receive(p.now, packet)
	return true
}

// membersOf returns acceptors 1 to n.
func membersOf(n int) (m paxos.Members) {
	for id := range n {
		m.Acceptors = append(m.Acceptors, paxos.ServerID(id+1))
	}
	return m
}

func (p *pump) startAll() {
	for _, id := range p.ids() {
		p.start(id)
	}
	p.run()
	clear(p.saves)
}

// idle reports whether nothing is due at a server but to ask for what it missed.
func (p *pump) idle(id paxos.ServerID) bool {
	r := p.replicas[id]
	_, alarm := r.timers.next()
	_, lazy := r.saves.hurryAt()
	return !alarm && !lazy
}

// start starts a server on its storage. A Replica that ran before is gone.
func (p *pump) start(id paxos.ServerID) {
	p.lives++
	p.servers[id].Life = p.lives
	delete(p.held, id)
	r, err := New(p.now, Config{ID: id, State: *p.state[id], Nonce: p.lives, Members: p.members, Open: p.servers[id].Disk.Open(), Forgotten: p.forgotten(id),
		Limits: p.limits, Timing: p.timing, Seed: p.seed, Trace: p.trace, NoStanding: p.classic})
	require.NoError(p.t, err)
	p.replicas[id] = r
}

// crash loses all that is not in the storage.
func (p *pump) crash(id paxos.ServerID) {
	delete(p.replicas, id)
	delete(p.held, id)
}

// endSave makes the Save of a server durable that runs.
func (p *pump) endSave(id paxos.ServerID) {
	b := p.held[id]
	require.NotNil(p.t, b, "no Save runs at server %d", id)
	delete(p.held, id)
	p.put(id, *b)
	p.replicas[id].Saved(p.now)
}

// run carries out everything until nothing is left to do without time.
func (p *pump) run() {
	for n := 0; p.turn(); n++ {
		require.Less(p.t, n, 10_000, "the servers never stop talking")
	}
}

func (p *pump) turn() (some bool) {
	for _, id := range p.ids() {
		for r := p.replicas[id]; r != nil && p.take(id, r); {
			some = true
		}
	}
	queue := p.queue
	p.queue = nil
	for _, packet := range queue {
		some = p.deliver(packet) || some
	}
	return some
}

func (p *pump) take(id paxos.ServerID, r *Replica) bool {
	var out Output
	if !r.Take(&out) {
		return false
	}
	if p.look != nil {
		p.look(id, &out)
	}
	for _, packet := range out.Send {
		p.send(packet)
	}
	for _, d := range out.Done {
		require.NotContains(p.t, p.done, d.ID, "a call ended twice")
		p.done[d.ID] = d
		p.ended(id, d)
	}
	p.faults = append(p.faults, out.Faults...)
	p.events = append(p.events, out.Events...)
	for _, e := range out.Events {
		if e.Kind == paxos.EventLearned {
			require.NoError(p.t, p.Learned(p.servers[id], &e.Message))
		}
	}
	if out.Stop != nil {
		p.stops[id] = out.Stop
	}
	p.answer(id, &out)
	if out.Save != nil {
		p.saves[id]++
		require.NotContains(p.t, p.held, id, "two Saves at once")
		p.held[id] = out.Save
		p.batches = append(p.batches, paxos.Batch{Server: out.Save.Server, Records: slices.Clone(out.Save.Records)})
		if p.hold == nil || !p.hold(id) {
			p.onDisk(id, true, func() { p.endSave(id) })
		}
	}
	return true
}

// send puts a packet, or the part of it that lose leaves, on its way.
func (p *pump) send(packet paxos.Packet) {
	p.leaves(packet)
	if p.carry != nil {
		p.carry(packet)
		return
	}
	kept := packet
	kept.Messages = nil
	for _, m := range packet.Messages {
		if m.Kind == paxos.KindAccept {
			p.asked = append(p.asked, m.Value)
		}
		if pulls := m.Kind == paxos.KindPull || m.Kind == paxos.KindNames || m.Kind == paxos.KindLimits; !pulls || p.pulls {
			shown := m
			if n := len(m.Value); n > 128<<10 {
				shown.Value = paxos.Value(fmt.Sprint(n, " bytes"))
			}
			p.sent = append(p.sent, fmt.Sprintf("%d -> %d: %v", packet.From, packet.To, shown))
		}
		if p.lose == nil || !p.lose(packet, m) {
			kept.Messages = append(kept.Messages, m)
		}
	}
	if len(kept.Messages) > 0 {
		p.queue = append(p.queue, kept)
	}
}

// answer answers the questions of a Replica about its disk.
func (p *pump) answer(id paxos.ServerID, out *Output) {
	p.loads = append(p.loads, out.Load...)
	for _, name := range out.Load {
		if !p.slow {
			p.onDisk(id, false, func() { p.load(id, name) })
		}
	}
	for _, ask := range out.List {
		if p.late == id {
			p.pages = append(p.pages, listed{id, ask, p.listed(id, ask)})
			continue
		}
		p.onDisk(id, false, func() { p.list(listed{id, ask, p.listed(id, ask)}) })
	}
}

// onDisk ends a read or a Save: at once, or when disk says.
func (p *pump) onDisk(id paxos.ServerID, write bool, end func()) {
	if p.disk == nil {
		end()
		return
	}
	p.disk(id, write, end)
}

// load answers a Load.
func (p *pump) load(id paxos.ServerID, name string) {
	p.replicas[id].Loaded(p.now, name, p.record(id, name))
}

// A listed is what a server's storage answers to an Output.List.
type listed struct {
	server paxos.ServerID
	ask    ListAsk
	page   Page
}

// list hands in a page.
func (p *pump) list(l listed) { p.replicas[l.server].Listed(p.now, l.ask.ID, l.page) }

// pass lets time go by, timers and all.
func (p *pump) pass(d time.Duration) {
	end := p.now + d
	for spins := 0; ; spins++ {
		require.Less(p.t, spins, 100_000, "timers never end")
		p.run()
		due := false
		next := end
		for _, id := range p.ids() {
			if r := p.replicas[id]; r != nil {
				if at, ok := r.Next(); ok && at <= next {
					due, next = true, max(at, p.now)
				}
			}
		}
		if !due {
			break
		}
		p.now = next
		for _, id := range p.ids() {
			if r := p.replicas[id]; r != nil {
				r.Tick(p.now)
			}
		}
	}
	p.now = end
}

// propose begins a call and carries out all that comes of it at once.
func (p *pump) propose(id paxos.ServerID, call CallID, instance string, v paxos.Value) {
	p.begin(id, call, instance, v)
	p.run()
}

// begin begins a call, and carries out nothing.
func (p *pump) begin(id paxos.ServerID, call CallID, instance string, v paxos.Value) {
	p.Proposed(instance, v)
	p.replicas[id].Propose(p.now, call, instance, v)
}

// value returns what a call ended with.
func (p *pump) value(id CallID) paxos.Value {
	p.t.Helper()
	d, ok := p.done[id]
	require.True(p.t, ok, "call %d has not ended", id)
	require.NoError(p.t, d.Err)
	require.True(p.t, d.OK)
	return d.Decision.Value
}

// failed returns the error that a call ended with.
func (p *pump) failed(id CallID) *paxos.OpError {
	p.t.Helper()
	d, ok := p.done[id]
	require.True(p.t, ok, "call %d has not ended", id)
	var e *paxos.OpError
	require.ErrorAs(p.t, d.Err, &e)
	require.False(p.t, d.OK)
	return e
}

// count returns how many messages of that kind left.
func (p *pump) count(k paxos.Kind) (n int) {
	for _, id := range p.ids() {
		if r := p.replicas[id]; r != nil {
			n += int(r.counters.Sent[k])
		}
	}
	return n
}

// during returns what left while f ran.
func (p *pump) during(f func()) []string {
	n := len(p.sent)
	f()
	return p.sent[n:]
}

// msg parses the text form of a message.
func msg(t require.TestingT, text string) paxos.Message {
	m, err := paxos.ParseMessage(text)
	require.NoError(t, err)
	return m
}

// deaf returns a lose that cuts the servers given off from all others.
func deaf(ids ...paxos.ServerID) func(paxos.Packet, paxos.Message) bool {
	return func(p paxos.Packet, m paxos.Message) bool {
		return slices.Contains(ids, p.From) || slices.Contains(ids, p.To)
	}
}

// kinds returns a lose that loses every message of these kinds.
func kinds(ks ...paxos.Kind) func(paxos.Packet, paxos.Message) bool {
	return func(p paxos.Packet, m paxos.Message) bool { return slices.Contains(ks, m.Kind) }
}
