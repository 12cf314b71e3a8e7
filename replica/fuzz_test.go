package replica

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/page"
)

// FuzzReplica gives one Replica any inputs in any order: packets with any fields, ticks, Saves and Loads that end, calls,
// crashes. It never panics, holds no more than its limits say, saves no promise that goes down and no vote above its
// promise, answers nothing before its save, uses no ballot twice, ends each call once; and it does the same again for the
// same inputs.
func FuzzReplica(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(randomBytes(seed, 300))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<12 {
			return
		}
		first, second := newTyper(t, data).run(), newTyper(t, data).run()
		require.Equal(t, first.log, second.log)
	})
}

func randomBytes(seed uint64, n int) []byte {
	src := rand.New(rand.NewPCG(seed, 1))
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(src.Uint32())
	}
	return data
}

// The same with random bytes, and a proof that they get somewhere.
func TestReplicaRandomInputs(t *testing.T) {
	const seeds = 1000
	var total paxos.Counters
	faults, stops, ends := map[string]bool{}, 0, 0
	for seed := range uint64(seeds) {
		y := newTyper(t, randomBytes(seed, 600))
		y.seed = seed
		y.run()
		addCounters(&total, y.total)
		for _, fault := range y.faults {
			faults[fault.Reason] = true
		}
		stops += y.stops
		ends += y.decided
	}
	assert.NotZero(t, total.Owned, "sometimes in round 0")
	assert.NotZero(t, total.Superseded, "sometimes superseded")
	assert.NotZero(t, total.Resends)
	assert.NotZero(t, total.Dropped)
	assert.NotZero(t, total.DroppedPackets)
	assert.NotZero(t, total.Strangers)
	assert.NotZero(t, ends, "sometimes a call ends with a decision")
	assert.NotZero(t, stops, "sometimes an identity is refused")
	assert.GreaterOrEqual(t, len(faults), 6, "%v", faults)
	for k := paxos.KindPrepare; k <= paxos.KindState; k++ {
		assert.NotZero(t, total.Sent[k], "sent: %v", k)
		assert.NotZero(t, total.Received[k], "received: %v", k)
	}
}

func addCounters(to *paxos.Counters, c paxos.Counters) {
	for k := range c.Sent {
		to.Sent[k] += c.Sent[k]
		to.Received[k] += c.Received[k]
	}
	to.Superseded += c.Superseded
	to.Resends += c.Resends
	to.Dropped += c.Dropped
	to.DroppedPackets += c.DroppedPackets
	to.Strangers += c.Strangers
	to.Attempts += c.Attempts
	to.Owned += c.Owned
	to.Decided += c.Decided
	to.Saves += c.Saves
}

// A typer turns bytes into inputs of server 1 of a cluster of three acceptors and a learner.
type typer struct {
	*cluster
	t       *testing.T
	data    []byte
	r       *Replica
	now     time.Duration
	out     Output
	held    *paxos.Batch
	loads   []string
	asks    []ListAsk
	lives   uint64
	calls   map[CallID]bool        // begun; true: ended
	own     map[CallID]paxos.Value // of calls whose values no other has
	left    map[paxos.Value]bool   // proposed values that have left, as hints or to be voted for
	unsent  map[paxos.Value]bool   // values that have not left, as their callers were told
	index   map[paxos.ServerID]uint64
	last    CallID
	ballots []paxos.Ballot // used by the server, to answer them
	log     []string
	faults  []*paxos.SafetyError
	total   paxos.Counters
	stops   int
	decided int
	seed    uint64
}

func newTyper(t *testing.T, data []byte) *typer {
	m := membersOf(3)
	m.Learners = []paxos.ServerID{8}
	y := &typer{cluster: newCluster(t, m), t: t, data: data, calls: map[CallID]bool{}, own: map[CallID]paxos.Value{}, left: map[paxos.Value]bool{},
		unsent: map[paxos.Value]bool{}, index: map[paxos.ServerID]uint64{}}
	y.Unseen = true
	if y.next()%2 == 0 {
		y.state[1].Peers = "" // it meets them now
	}
	y.start()
	return y
}

func (y *typer) start() {
	y.lives++
	y.held, y.loads, y.asks = nil, nil, nil
	for id, ended := range y.calls {
		if !ended {
			delete(y.calls, id)
		}
	}
	y.servers[1].Life = y.lives
	var err error
	how := y.next()
	y.r, err = New(y.now, Config{ID: y.state[1].ID, State: *y.state[1], Nonce: y.lives, Members: y.members, Open: y.servers[1].Disk.Open(), Forgotten: y.forgotten(1), Trace: how%2 == 0,
		Limits: paxos.Limits{MaxValue: 8, MaxHint: 4, MaxOpen: []int{1, 2, 6}[how/2%3], MaxCalls: 12, Cache: 2, MaxPacket: 4 << 10, MaxBatch: 4 << 10}})
	require.NoError(y.t, err)
}

func (y *typer) next() byte {
	if len(y.data) == 0 {
		return 0
	}
	b := y.data[0]
	y.data = y.data[1:]
	return b
}

func (y *typer) run() *typer {
	for len(y.data) > 0 {
		y.input(y.next())
		y.take()
	}
	if y.r.stop == nil {
		y.r.Abort(y.now, errors.New("the end"))
		for y.held != nil || !y.r.saves.booted {
			y.take()
			y.saved()
		}
	}
	y.take()
	for id, ended := range y.calls {
		require.True(y.t, ended, "seed %d: call %d has not ended", y.seed, id)
	}
	addCounters(&y.total, y.r.counters)
	return y
}

func (y *typer) input(op byte) {
	switch op % 18 {
	case 0, 1, 2, 3, 4, 5, 6:
		y.r.Receive(y.now, y.packet())
	case 7, 8:
		y.saved()
	case 9, 10:
		if len(y.loads) > 0 {
			name := y.loads[0]
			y.loads = y.loads[1:]
			y.r.Loaded(y.now, name, y.record(1, name))
		}
	case 11:
		y.now += time.Duration(y.next()) * 10 * time.Millisecond
		y.r.Tick(y.now)
	case 12:
		if at, ok := y.r.Next(); ok {
			y.now = max(y.now, at)
			y.r.Tick(y.now)
		}
	case 13, 14:
		y.call(y.next())
	case 16:
		if len(y.asks) > 0 {
			ask := y.asks[0]
			y.asks = y.asks[1:]
			y.r.Listed(y.now, ask.ID, y.listed(1, ask))
		}
	case 17:
		y.until(time.Duration(y.next()%32) * 200 * time.Millisecond)
	case 15:
		if y.next()%8 == 0 {
			addCounters(&y.total, y.r.counters)
			y.start()
		}
	}
}

func (y *typer) saved() {
	if y.held != nil {
		y.put(1, *y.held)
		y.held = nil
		y.r.Saved(y.now)
	}
}

func (y *typer) call(op byte) {
	name := y.name()
	switch op % 12 {
	case 0, 1, 2, 3, 4, 8, 9, 10, 11:
		y.last++
		y.calls[y.last] = false
		switch op % 12 {
		case 3:
			y.r.Wait(y.now, y.last, name)
		case 4:
			y.r.Ready(y.now, y.last)
		case 8:
			y.r.Read(y.now, y.last, name)
		case 9, 10, 11:
			v := paxos.Value(fmt.Sprintf("%03d", y.last))
			if y.next()%2 == 0 {
				v += "long" // no hint
			}
			y.own[y.last] = v
			y.r.Propose(y.now, y.last, name, v)
		default:
			y.r.Propose(y.now, y.last, name, y.value())
		}
	case 5, 6:
		y.r.Cancel(y.now, CallID(y.next())%(y.last+1))
	case 7:
		y.r.Peek(name)
		y.r.Status(y.now)
	}
}

func (y *typer) name() string {
	return []string{"a", "b", "c", "d", "e", "$1/f", "$1.1.1/g", "$2/h", "$1.2.1/i", "j", "a", "b", "$1/f", readyName, "", "\xff"}[y.next()%16]
}

func (y *typer) value() paxos.Value {
	return []paxos.Value{"v", "w", "", "large", "too large"}[y.next()%5]
}

func (y *typer) ballot(server paxos.ServerID) paxos.Ballot {
	b := y.next()
	if b < 128 && server == 1 && len(y.ballots) > 0 {
		return y.ballots[len(y.ballots)-1-int(b)%len(y.ballots)]
	}
	switch b % 16 {
	case 0:
		return paxos.Ballot{}
	case 1:
		return paxos.Ballot{Round: paxos.MaxRound + uint64(b/128), Server: server}
	case 2:
		return paxos.Ballot{Round: 0, Server: server}
	case 3:
		return paxos.Ballot{Round: uint64(b) * roundBlock, Server: server}
	}
	return paxos.Ballot{Round: uint64(b % 16), Server: server}
}

// packet is what a server may send, now and then with something else in it.
func (y *typer) packet() paxos.Packet {
	from := []paxos.ServerID{2, 3, 2, 3, 2, 3, 8, 9}[y.next()%8]
	p := paxos.Packet{From: from, To: 1, Store: 100 + uint64(from), Boot: 1, Nonce: uint64(from), Members: y.members.Fingerprint(), Seq: uint64(y.next())}
	switch y.next() % 64 {
	case 0:
		p.From = 1
	case 1:
		p.To = 3
	case 2:
		p.Store++
	case 3:
		p.Boot = uint64(y.next() % 4)
	case 4:
		p.Nonce++
	case 5:
		p.Members++
	case 6:
		y.index[from] += uint64(y.next()) % 100
	case 7:
		y.index[from] = 0
	}
	p.Index = y.index[from]
	for range 1 + y.next()%4 {
		p.Messages = append(p.Messages, y.message(from))
	}
	return p
}

func (y *typer) message(from paxos.ServerID) paxos.Message {
	m := paxos.Message{Kind: paxos.Kind(1 + y.next()%13), Instance: y.name()}
	switch m.Kind {
	case paxos.KindPromise, paxos.KindAccepted, paxos.KindNack, paxos.KindState:
		m.Ballot = y.ballot(1)
	case paxos.KindLimits:
		m.Value = takes{1 + int(y.next()%16), 1 + int(y.next())}.text()
		return m
	case paxos.KindPull:
		m.Value = page.Pull{Store: y.state[1].Store, Index: uint64(y.next() % 8), Boot: 1}.Text()
		return m
	case paxos.KindNames:
		var names []string
		for range y.next() % 8 {
			names = append(names, y.name())
		}
		after := uint64(0)
		if p := y.r.byID[from]; p != nil {
			after = p.pull.cursor
		}
		return namesMessage(100+uint64(from), after, y.state[1].Boot, after+uint64(y.next()), names...)
	case paxos.KindRefuse:
		m.Value = paxos.Value(fmt.Sprintf("identity: %d %d", y.state[1].Boot, y.lives-uint64(y.next()%2)))
		if y.next()%16 == 0 {
			m.Value += " because"
		}
		return m
	default:
		m.Ballot = y.ballot(from)
	}
	if b := y.next(); b%4 == 0 {
		m.Promised = y.ballot(from)
	} else if b%4 == 1 {
		m.Accepted = y.ballot(2 + paxos.ServerID(b%2))
	}
	if m.Kind == paxos.KindPrepare || m.Kind == paxos.KindAccept || m.Kind == paxos.KindDecided || !m.Accepted.IsZero() {
		m.Value = y.value()
	}
	return m
}

// take carries out what the Replica wants, and checks it.
func (y *typer) take() {
	for turns := 0; y.r.Take(&y.out); turns++ {
		require.Less(y.t, turns, 1000, "Take never ends")
		out := &y.out
		y.log = append(y.log, fmt.Sprint(y.now, out.Send, out.Load, out.Done, out.Index, out.Faults, out.Stop, out.Events))
		for _, packet := range out.Send {
			y.leaves(packet)
			for _, m := range packet.Messages {
				if m.Ballot.Server == 1 {
					y.ballots = append(y.ballots, m.Ballot)
				}
				if m.Kind == paxos.KindPrepare || m.Kind == paxos.KindAccept {
					y.left[m.Value] = true
					require.False(y.t, y.unsent[m.Value], "seed %d: %v leaves, and its caller was told that it never did", y.seed, m)
				}
			}
		}
		require.LessOrEqual(y.t, out.Index, y.state[1].Last)
		y.loads = append(y.loads, out.Load...)
		y.asks = append(y.asks, out.List...)
		for _, d := range out.Done {
			ended, known := y.calls[d.ID]
			require.True(y.t, known && !ended, "call %d ends, which runs: %v", d.ID, known)
			y.calls[d.ID] = true
			if d.OK {
				y.decided++
			}
			require.False(y.t, d.OK && d.Err != nil)
			if own, ok := y.own[d.ID]; ok {
				y.ownEnded(own, d.Err)
			}
		}
		y.faults = append(y.faults, out.Faults...)
		if out.Stop != nil {
			y.stops++
		}
		if out.Save != nil {
			require.Nil(y.t, y.held, "two Saves at once")
			y.held = out.Save
			y.log = append(y.log, fmt.Sprintf("%+v %+v", out.Save.Server, out.Save.Records))
		}
	}
	checkTables(y.t, y.r)
}

// ownEnded checks the end of a call that alone proposed v: if it says that v never left, that is so, and stays so.
func (y *typer) ownEnded(v paxos.Value, err error) {
	var e *paxos.OpError
	if !errors.As(err, &e) || e.Unknown() {
		return
	}
	require.False(y.t, y.left[v], "seed %d: %q had left: %v", y.seed, v, err)
	y.unsent[v] = true
}

// until lets time go by, timers and all.
func (y *typer) until(d time.Duration) {
	end := y.now + d
	for spins := 0; ; spins++ {
		require.Less(y.t, spins, 10_000, "seed %d: timers never end", y.seed)
		at, ok := y.r.Next()
		if !ok || at > end {
			break
		}
		y.now = max(y.now, at)
		y.r.Tick(y.now)
		y.take()
	}
	y.now = end
}
