package paxosweb

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/spacetime"
)

// A history makes the traces of servers that send each other messages. The time rises with each event.
type history struct {
	traces  []Trace
	now     time.Duration
	packets uint64
}

func newHistory(servers int) *history {
	h := &history{}
	for id := range servers {
		h.traces = append(h.traces, Trace{Server: paxos.ServerID(id + 1), Boot: uint64(id + 3), Tracing: paxos.Tracing{On: true}})
	}
	return h
}

// at adds an event of a server.
func (h *history) at(server int, e paxos.Event) {
	t := &h.traces[server-1]
	h.now += time.Millisecond
	e.Server, e.Boot, e.Seq, e.At = t.Server, t.Boot, uint64(len(t.Events)+1), h.now
	t.Events = append(t.Events, e)
}

func message(text string) paxos.Message {
	m := paxos.Message{Kind: paxos.KindPrepare, Instance: "lunch", Ballot: paxos.Ballot{Round: 1, Server: 1}, Value: paxos.Value(text)}
	return m
}

func (h *history) send(from, to int, text string) (packet uint64) {
	h.packets++
	h.at(from, paxos.Event{Kind: paxos.EventSend, Peer: paxos.ServerID(to), Packet: h.packets, Message: message(text)})
	return h.packets
}

func (h *history) receive(from, to int, packet uint64, text string) {
	h.at(to, paxos.Event{Kind: paxos.EventReceive, Peer: paxos.ServerID(from), PeerBoot: h.traces[from-1].Boot, Packet: packet, Message: message(text)})
}

// order says of a picture what came after what.
func order(p picture) (all []string) {
	for _, e := range p.events {
		all = append(all, fmt.Sprintf("%d lane %d to %d, message %d: %s", e.Kind, e.Lane, e.Peer, e.Message, e.Text))
	}
	return all
}

// Whatever the clocks of the servers show, the picture is the same, and in the order of what happened.
func TestMergeIgnoresClocks(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		h := newHistory(3)
		type flying struct {
			from, to int
			packet   uint64
			text     string
		}
		var air []flying
		for i := range 60 {
			if len(air) > 0 && random.IntN(2) == 0 {
				n := random.IntN(len(air))
				f := air[n]
				h.receive(f.from, f.to, f.packet, f.text)
				if random.IntN(10) > 0 { // else it comes once more
					air = slices.Delete(air, n, n+1)
				}
				continue
			}
			from := 1 + random.IntN(3)
			to := 1 + (from+random.IntN(2))%3
			air = append(air, flying{from, to, h.send(from, to, fmt.Sprint(i)), fmt.Sprint(i)})
		}
		want := merge(h.traces)
		checkOrder(t, h, want)
		for i := range h.traces {
			shift := time.Duration(random.Int64N(int64(2*time.Hour))) - time.Hour
			h.traces[i].Events = slices.Clone(h.traces[i].Events)
			for j := range h.traces[i].Events {
				h.traces[i].Events[j].At += shift
			}
		}
		random.Shuffle(len(h.traces), func(i, j int) { h.traces[i], h.traces[j] = h.traces[j], h.traces[i] })
		require.Equal(t, order(want), order(merge(h.traces)))
	}
}

// checkOrder checks that every event is in the picture, each lane in its own order, and each arrival after its sending, in time too.
func checkOrder(t *testing.T, h *history, p picture) {
	total, sent, peers := 0, map[int]time.Duration{}, map[int]int{}
	lanes := map[int][]string{}
	for _, e := range p.events {
		lane := e.Lane
		switch e.Kind {
		case spacetime.Send:
			sent[e.Message], peers[e.Message] = e.At, e.Peer
		case spacetime.Arrive:
			at, ok := sent[e.Message]
			require.True(t, ok, "nothing arrives before it was sent")
			require.GreaterOrEqual(t, e.At, at)
			require.Equal(t, peers[e.Message], lane)
		case spacetime.Lose:
			continue
		}
		lanes[lane] = append(lanes[lane], fmt.Sprint(e.Kind == spacetime.Send, e.Peer))
	}
	for i, trace := range h.traces {
		var want []string
		for _, e := range trace.Events {
			peer := 0
			if e.Kind == paxos.EventSend {
				peer = int(e.Peer) - 1
			}
			want = append(want, fmt.Sprint(e.Kind == paxos.EventSend, peer))
		}
		total += len(want)
		require.Equal(t, want, lanes[i])
	}
	require.Equal(t, 60, total)
}

// drawn returns a picture as text.
func drawn(p picture) string { return spacetime.Draw(p.lanes, p.events, 100) }

// A message is lost if its receiver has noted later packets, but not this one. If it may still come, it is on its way.
func TestMergeTellsLostMessages(t *testing.T) {
	h := newHistory(2)
	h.send(1, 2, "never comes")
	second := h.send(1, 2, "comes")
	h.receive(1, 2, second, "comes")
	boot := h.traces[0].Boot
	assert.NotContains(t, drawn(merge(h.traces)), "✗")
	h.traces[1].Heard = []Heard{{Server: 1, Boot: boot, First: 0, Last: second}}
	assert.Equal(t, 1, strings.Count(drawn(merge(h.traces)), "✗"))
	for _, heard := range []Heard{{1, boot + 1, 0, second}, {1, boot, 1, second}, {1, boot, 0, 1}, {2, boot, 0, second}} {
		h.traces[1].Heard = []Heard{heard}
		assert.NotContains(t, drawn(merge(h.traces)), "✗", heard)
	}
	h.traces[1].Heard = []Heard{{1, boot, 0, second}}
	h.traces[1].Tracing.OneIn = 2
	assert.NotContains(t, drawn(merge(h.traces)), "✗", "it may have left out this one")
}

// A packet may hold a message twice, and a packet may come twice.
func TestMergeOfEqualMessages(t *testing.T) {
	h := newHistory(2)
	p := h.send(1, 2, "same")
	h.packets--
	h.send(1, 2, "same")
	other := h.send(1, 2, "other")
	h.receive(1, 2, p, "same")
	h.receive(1, 2, p, "same")
	h.receive(1, 2, other, "other")
	text := drawn(merge(h.traces))
	assert.Equal(t, 3, strings.Count(text, "►"))
	assert.NotContains(t, text, "┄")
	h.receive(1, 2, p, "same")
	h.receive(1, 2, p, "same")
	text = drawn(merge(h.traces))
	assert.Equal(t, 5, strings.Count(text, "►"))
	assert.Equal(t, 1, strings.Count(text, `"other"`))
}

// A server without a trace still has a lane, and its messages come from there.
func TestMergeWithoutATrace(t *testing.T) {
	h := newHistory(3)
	p := h.send(1, 2, "there")
	h.receive(1, 2, p, "there")
	p = h.send(2, 1, "back")
	h.receive(2, 1, p, "back")
	got := merge([]Trace{h.traces[0]})
	assert.Equal(t, []string{"server 1", "server 2"}, got.lanes)
	text := drawn(got)
	assert.Contains(t, text, `"there"`)
	assert.Contains(t, text, `"back"`)
	assert.Empty(t, merge(nil).events)
	assert.Empty(t, merge([]Trace{h.traces[2]}).events)
}

// Events that no message joins come in the order of the clocks, which messages have set.
func TestMergeGoesByTime(t *testing.T) {
	h := newHistory(2)
	p := h.send(1, 2, "ping")
	h.receive(1, 2, p, "ping")
	p = h.send(2, 1, "pong")
	h.receive(2, 1, p, "pong")
	var want []string
	for i := range 6 {
		h.at(1+i%2, paxos.Event{Kind: paxos.EventCall, Call: uint64(i + 1), Op: fmt.Sprintf("call%d", i)})
		want = append(want, fmt.Sprintf("call%d", i))
	}
	for i := range h.traces[1].Events {
		h.traces[1].Events[i].At -= time.Hour
	}
	var got []string
	for _, e := range merge(h.traces).events {
		if strings.HasPrefix(e.Text, "call") {
			got = append(got, e.Text)
		}
	}
	assert.Equal(t, want, got)
}

// A message that leaves with the begin of a Save does not wait for it, and stands before it.
func TestMergeOfOneAct(t *testing.T) {
	h := newHistory(2)
	at := paxos.Ballot{Round: 1, Server: 1}
	h.at(1, paxos.Event{Kind: paxos.EventSave, Save: 1})
	h.at(1, paxos.Event{Kind: paxos.EventRecord, Save: 1, Message: paxos.Message{Instance: "lunch", Promised: at}})
	h.send(1, 2, "v")
	h.at(1, paxos.Event{Kind: paxos.EventSaved, Save: 1})
	assert.Contains(t, drawn(merge(h.traces)), "□ promised 1.1", "it left later")
	for i := range h.traces[0].Events {
		h.traces[0].Events[i].At = time.Second
	}
	text := drawn(merge(h.traces))
	assert.Regexp(t, `(?s)prepare 1.1.*■ promised 1.1`, text)
	assert.NotContains(t, text, "□")
}

// Two starts of a server are one lane, the later one below.
func TestMergeOfTwoStarts(t *testing.T) {
	h := newHistory(2)
	h.at(1, paxos.Event{Kind: paxos.EventCall, Call: 1, Op: "propose", Message: message("first")})
	later := Trace{Server: 1, Boot: 9, Events: []paxos.Event{{Kind: paxos.EventCall, Server: 1, Boot: 9, Call: 1, Op: "propose", Message: message("second"), At: -time.Hour}}}
	text := drawn(merge([]Trace{later, h.traces[0], later}))
	assert.Regexp(t, `(?s)first.*starts again \(boot 9\).*second`, text)
	assert.Equal(t, 1, strings.Count(text, "second"), "the same trace twice counts once")
}

// A wrong trace ends in some picture, not in a panic, and a huge one in a cut.
func TestMergeOfWrongTraces(t *testing.T) {
	h := newHistory(2)
	h.receive(1, 2, 1, "a")
	h.send(2, 1, "b")
	h.receive(2, 1, 1, "b")
	h.packets = 0
	h.send(1, 2, "a") // each waits for the other
	merge(h.traces)
	h = newHistory(2)
	for range 3 * maxPictured {
		h.send(1, 2, "x")
	}
	p := merge(h.traces)
	assert.True(t, p.cut)
	assert.Len(t, p.events, maxPictured)
	h = newHistory(1)
	for i := range 300 {
		h.send(1, 2+i, "x")
	}
	assert.Len(t, merge(h.traces).lanes, maxLanes)
	h = newHistory(1)
	h.send(1, 1, "to itself")
	assert.Empty(t, merge(h.traces).events)
}

// Each kind of event is told in words.
func TestMergeTellsEachKind(t *testing.T) {
	h := newHistory(2)
	at := paxos.Ballot{Round: 1, Server: 1}
	h.at(1, paxos.Event{Kind: paxos.EventCall, Call: 7, Op: "read", Message: paxos.Message{Instance: "lunch"}})
	h.at(1, paxos.Event{Kind: paxos.EventDone, Call: 7, Message: paxos.Message{Instance: "lunch"}})
	h.at(1, paxos.Event{Kind: paxos.EventDone, Call: 8, Message: paxos.Message{Instance: "lunch"}, Err: errors.New("paxos: too bad")})
	h.at(1, paxos.Event{Kind: paxos.EventDone, Call: 9, Message: paxos.Message{Instance: "lunch", Ballot: at, Value: "v"}})
	h.at(1, paxos.Event{Kind: paxos.EventSave, Save: 1})
	h.at(1, paxos.Event{Kind: paxos.EventRecord, Save: 1, Message: paxos.Message{Instance: "lunch", Promised: at, Accepted: at, Value: paxos.Value(strings.Repeat("x", 64))}, Cut: 1000})
	h.at(1, paxos.Event{Kind: paxos.EventSaved, Save: 1})
	h.at(1, paxos.Event{Kind: paxos.EventFault, Message: paxos.Message{Instance: "lunch"}, Err: errors.New("two values")})
	p := h.send(1, 2, "gone")
	h.at(2, paxos.Event{Kind: paxos.EventDrop, Peer: 1, PeerBoot: h.traces[0].Boot, Packet: p, Message: message("gone"), Err: errors.New("no room")})
	h.at(2, paxos.Event{Kind: paxos.EventLearned, Message: message("v")})
	h.at(2, paxos.Event{Kind: paxos.EventDone, Call: 1, Message: message("v")})
	h.traces[1].Events[2].At = h.traces[1].Events[1].At
	text := drawn(merge(h.traces))
	for _, want := range []string{"◆ read", "◆ returns that nothing was chosen", "◆ fails: too bad", `◆ returns "v"`, `■ accepted 1.1 "xxxxxxxxxxxxxxxxxxxxxxxx"… 1064`,
		"! protocol broken: two values", "✗ dropped: no room", `★ learns "v", returns it`} {
		assert.Contains(t, text, want)
	}
}

// No message arrives before it was sent, if any clocks allow that. Clocks that nothing joins stay as they are.
func TestSetClocks(t *testing.T) {
	a, b, c := life{1, 1}, life{2, 1}, life{3, 1}
	const ms = time.Millisecond
	got := setClocks([]life{a, b, c}, []flight{{a, b, 100 * ms, 1000 * ms}, {b, a, 1000 * ms, 120 * ms}})
	assert.Equal(t, map[life]time.Duration{a: 0, b: -890 * ms}, got)
	assert.Equal(t, map[life]time.Duration{a: 0, b: 5 * ms}, setClocks([]life{a, b}, []flight{{a, b, 10 * ms, 5 * ms}}))
	assert.Equal(t, map[life]time.Duration{a: 0, b: -5 * ms}, setClocks([]life{a, b}, []flight{{b, a, 10 * ms, 5 * ms}}))
	joined := setClocks([]life{a, b, c}, []flight{{a, b, 0, 0}, {b, a, 0, 2 * ms}, {b, c, 0, 50 * ms}, {c, b, 50 * ms, 4 * ms}})
	assert.Equal(t, map[life]time.Duration{a: 0, b: ms, c: -47 * ms}, joined)
}
