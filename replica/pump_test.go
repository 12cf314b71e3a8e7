package replica

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// A pump runs Replicas in one goroutine, with maps for storages: packets go over at once, in order, unless lose says that
// they are lost. Saves end at once, unless hold says that they don't. Its ledger checks every save, every packet and every
// decision.
type pump struct {
	*ledger
	t        *testing.T
	now      time.Duration
	replicas map[paxos.ServerID]*Replica
	held     map[paxos.ServerID]*paxos.Batch // Saves that run
	hold     func(id paxos.ServerID) bool
	lose     func(p paxos.Packet, m paxos.Message) bool
	queue    []paxos.Packet
	sent     []string // every message that left, in text: "1 -> 2: prepare 1.1"; those of catching up if pulls is set
	pulls    bool
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
	pages    []page
	seqs     uint64 // of hear
}

func newPump(t *testing.T, m paxos.Members) *pump {
	return &pump{ledger: newLedger(t, m), t: t, replicas: map[paxos.ServerID]*Replica{}, held: map[paxos.ServerID]*paxos.Batch{},
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
	p.forged = true
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
	n := len(p.sent)
	p.replicas[to].Receive(p.now, p.packet(from, to, ms...))
	p.run()
	return p.sent[n:]
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
	delete(p.held, id)
	var open []string
	for name, rec := range p.records[id] {
		if !rec.Chosen {
			open = append(open, name)
		}
	}
	slices.Sort(open)
	r, err := New(p.now, Config{ID: id, State: *p.state[id], Nonce: p.lives, Members: p.members, Open: open,
		Limits: p.limits, Timing: p.timing, Seed: p.seed, Trace: p.trace})
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
		if r := p.replicas[packet.To]; r != nil {
			r.Receive(p.now, packet)
			some = true
		}
	}
	return some
}

func (p *pump) take(id paxos.ServerID, r *Replica) bool {
	var out Output
	if !r.Take(&out) {
		return false
	}
	for _, packet := range out.Send {
		p.leaves(packet)
		kept := packet
		kept.Messages = nil
		for _, m := range packet.Messages {
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
	for _, d := range out.Done {
		require.NotContains(p.t, p.done, d.ID, "a call ended twice")
		p.done[d.ID] = d
		p.ended(d)
	}
	p.faults = append(p.faults, out.Faults...)
	p.events = append(p.events, out.Events...)
	if out.Stop != nil {
		p.stops[id] = out.Stop
	}
	p.loads = append(p.loads, out.Load...)
	for _, name := range out.Load {
		if !p.slow {
			p.load(id, name)
		}
	}
	for _, ask := range out.List {
		page := page{id, ask, p.decidedNames(id, ask.After, ask.Max)}
		if p.late == id {
			p.pages = append(p.pages, page)
			continue
		}
		p.list(page)
	}
	if out.Save != nil {
		p.saves[id]++
		require.NotContains(p.t, p.held, id, "two Saves at once")
		p.held[id] = out.Save
		p.batches = append(p.batches, paxos.Batch{Server: out.Save.Server, Records: slices.Clone(out.Save.Records)})
		if p.hold == nil || !p.hold(id) {
			p.endSave(id)
		}
	}
	return true
}

// decidedNames is what Storage.Decided would return.
func (p *ledger) decidedNames(id paxos.ServerID, after uint64, most int) (names []paxos.Named) {
	for name, rec := range p.records[id] {
		if rec.Chosen && rec.Index > after {
			names = append(names, paxos.Named{Instance: name, Index: rec.Index})
		}
	}
	slices.SortFunc(names, func(a, b paxos.Named) int { return cmp.Compare(a.Index, b.Index) })
	return names[:min(len(names), most)]
}

// load answers a Load.
func (p *pump) load(id paxos.ServerID, name string) {
	rec := p.records[id][name]
	rec.Instance = name
	p.replicas[id].Loaded(p.now, rec.Instance, rec)
}

// A page is what a server's storage answers to an Output.List.
type page struct {
	server paxos.ServerID
	ask    ListAsk
	names  []paxos.Named
}

// list hands in a page.
func (p *pump) list(page page) { p.replicas[page.server].Listed(p.now, page.ask.ID, page.names) }

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
	p.replicas[id].Propose(p.now, call, instance, v)
	p.run()
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

// A ledger holds the stable storages of a cluster and what its servers said, and checks the invariants after every
// step: I1 agreement over saved votes, I3 and I4 of what is saved, I5 no reply before its save, I6 one value a ballot, I8 a
// decision has a quorum of votes, and that no ballot is used twice or before it is reserved (docs/design.md#4.1).
type ledger struct {
	t       require.TestingT
	members paxos.Members
	state   map[paxos.ServerID]*paxos.ServerState
	records map[paxos.ServerID]map[string]paxos.Record
	values  map[ballotOf]paxos.Value // asked for
	votes   map[ballotOf]paxos.Set   // saved, or told to others
	chosen  map[string]paxos.Value   // by a quorum of votes
	used    map[ballotOf]ballotOf    // the use of each: its instance, or "?" and the instance for a question, and the Boot. The key has no instance but in round 0
	index   map[[2]uint64]string     // the instance of each Index of a server
	forged  bool                     // messages were made up, and the chosen values are not known
}

// ballotOf is a ballot of an instance.
type ballotOf struct {
	instance string
	ballot   paxos.Ballot
}

func newLedger(t require.TestingT, m paxos.Members) *ledger {
	if m.Cluster == "" {
		m.Cluster = "pump"
	}
	l := &ledger{t: t, members: m.Clone(), state: map[paxos.ServerID]*paxos.ServerState{}, records: map[paxos.ServerID]map[string]paxos.Record{},
		values: map[ballotOf]paxos.Value{}, votes: map[ballotOf]paxos.Set{}, chosen: map[string]paxos.Value{}, used: map[ballotOf]ballotOf{}, index: map[[2]uint64]string{}}
	for _, id := range l.ids() {
		l.state[id] = &paxos.ServerState{Cluster: m.Cluster, ID: id, Store: 100 + uint64(id), Members: l.members.Voters()}
		l.records[id] = map[string]paxos.Record{}
	}
	for _, id := range l.ids() { // they have met
		for _, other := range l.ids() {
			if other != id {
				*l.state[id] = l.state[id].WithStore(other, 100+uint64(other))
			}
		}
	}
	return l
}

func (l *ledger) ids() []paxos.ServerID {
	return append(slices.Clone(l.members.Acceptors), l.members.Learners...)
}

// put makes b durable.
func (l *ledger) put(id paxos.ServerID, b paxos.Batch) {
	if s := b.Server; s != nil {
		old := l.state[id]
		require.NoError(l.t, paxos.Batch{Server: s}.Check(*old))
		*old = *s
	}
	names := map[string]bool{}
	for _, rec := range b.Records {
		require.False(l.t, names[rec.Instance], "%q twice in a batch", rec.Instance)
		names[rec.Instance] = true
		l.putRecord(id, rec)
	}
}

func (l *ledger) putRecord(id paxos.ServerID, rec paxos.Record) {
	a, old := rec.Acceptor, l.records[id][rec.Instance]
	require.False(l.t, a.Promised.Less(old.Acceptor.Promised), "I3: %v: %+v after %+v", id, rec, old)
	require.False(l.t, a.Promised.Less(a.Accepted), "I4: %v: %+v", id, rec)
	if rec.Chosen {
		require.LessOrEqual(l.t, rec.Index, l.state[id].Last, "an Index above Last")
		require.NotZero(l.t, rec.Index)
		place := [2]uint64{uint64(id), rec.Index}
		require.True(l.t, l.index[place] == "" || l.index[place] == rec.Instance, "I9: an Index means %q, then %q", l.index[place], rec.Instance)
		l.index[place] = rec.Instance
		l.decided(rec.Instance, a.Value)
	} else {
		require.False(l.t, old.Chosen, "%v: decided, then not: %+v", id, rec)
		require.False(l.t, a.Accepted.Less(old.Acceptor.Accepted), "%v: %+v after %+v", id, rec, old)
	}
	l.records[id][rec.Instance] = rec
	if pos := l.members.Position(id); pos >= 0 && !rec.Chosen && !a.Accepted.IsZero() {
		l.vote(pos, rec.Instance, a.Accepted, a.Value)
	}
}

// leaves checks a packet when it leaves, against what is durable by then.
func (l *ledger) leaves(p paxos.Packet) {
	s := l.state[p.From]
	require.NotEqual(l.t, p.From, p.To, "a message to oneself")
	require.Equal(l.t, s.Boot, p.Boot, "a packet before Boot is saved")
	require.LessOrEqual(l.t, p.Index, s.Last, "Index shown before it is saved")
	for _, m := range p.Messages {
		rec := l.records[p.From][m.Instance]
		a := rec.Acceptor
		switch m.Kind {
		case paxos.KindPromise:
			require.False(l.t, a.Promised.Less(m.Ballot), "I5: server %d: %v leaves, %+v is saved", p.From, m, rec)
		case paxos.KindAccepted:
			require.False(l.t, a.Promised.Less(m.Ballot) || !rec.Chosen && a.Accepted.Less(m.Ballot), "I5: server %d: %v leaves, %+v is saved", p.From, m, rec)
			l.vote(l.members.Position(p.From), m.Instance, m.Ballot, l.values[ballotOf{m.Instance, m.Ballot}])
		case paxos.KindState:
			require.False(l.t, a.Promised.Less(m.Promised) || !rec.Chosen && a.Accepted.Less(m.Accepted), "I5: server %d: %v leaves, %+v is saved", p.From, m, rec)
		case paxos.KindPrepare, paxos.KindAccept:
			l.use(m.Ballot, m.Instance, s)
		case paxos.KindQuery:
			l.use(m.Ballot, "?"+m.Instance, s)
		case paxos.KindDecided:
			l.decided(m.Instance, m.Value)
		case paxos.KindChosen:
			require.True(l.t, l.forged || l.members.Quorum.Phase2(l.votes[ballotOf{m.Instance, m.Ballot}]), "I8: %v", m)
		}
		if m.Kind == paxos.KindAccept {
			l.ask(m.Instance, m.Ballot, m.Value)
		}
	}
}

func (l *ledger) use(b paxos.Ballot, what string, s *paxos.ServerState) {
	require.LessOrEqual(l.t, b.Round, s.Rounds, "ballot %v is used, and not reserved", b)
	use, key := ballotOf{what, paxos.Ballot{Round: s.Boot, Server: s.ID}}, ballotOf{ballot: b}
	if b.Round == 0 {
		key.instance = what
		l.useOwned(b, what, s)
	}
	if before, ok := l.used[key]; ok {
		require.Equal(l.t, before, use, "ballot %v is used twice", b)
	}
	l.used[key] = use
}

// useOwned checks an Accept of round 0: it is the owner's, who votes, and either of its very start or voted for on its disk.
func (l *ledger) useOwned(b paxos.Ballot, instance string, s *paxos.ServerState) {
	o, ok := paxos.OwnerOf(instance)
	require.True(l.t, ok && b == paxos.Ballot{Round: 0, Server: o.Server} && o.Server == s.ID, "server %d uses round 0 of %q", s.ID, instance)
	require.GreaterOrEqual(l.t, l.members.Position(s.ID), 0, "server %d does not vote, and uses round 0 of %q", s.ID, instance)
	if o.Boot == 0 {
		require.False(l.t, l.records[s.ID][instance].Acceptor.Accepted.Less(b), "round 0 of %q leaves before the own vote is saved", instance)
	} else {
		require.Equal(l.t, s.Boot, o.Boot, "round 0 of %q", instance)
	}
}

func (l *ledger) ask(instance string, b paxos.Ballot, v paxos.Value) {
	at := ballotOf{instance, b}
	if before, ok := l.values[at]; ok {
		require.Equal(l.t, before, v, "I6: two values in %q, ballot %v", instance, b)
	}
	l.values[at] = v
}

func (l *ledger) vote(position int, instance string, b paxos.Ballot, v paxos.Value) {
	if l.forged {
		return
	}
	at := ballotOf{instance, b}
	l.ask(instance, b, v)
	l.votes[at] = l.votes[at].With(position)
	if !l.members.Quorum.Phase2(l.votes[at]) {
		return
	}
	if before, ok := l.chosen[instance]; ok {
		require.Equal(l.t, before, v, "I1: two values are chosen in %q", instance)
	}
	l.chosen[instance] = v
}

// decided checks what a server takes for the decision.
func (l *ledger) decided(instance string, v paxos.Value) {
	if l.forged {
		return
	}
	chosen, ok := l.chosen[instance]
	require.True(l.t, ok, "I8: %q is decided with %q, and no quorum has voted", instance, string(v))
	require.Equal(l.t, chosen, v, "I8: in %q", instance)
}

func (l *ledger) ended(d Done) {
	if d.OK {
		l.decided(d.Decision.Instance, d.Decision.Value)
	}
}
