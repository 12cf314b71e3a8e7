package paxosweb

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// A still is a Server whose state the test chooses.
type still struct {
	status  paxos.Status
	members paxos.Configuration
	settled bool
	learned []paxos.Learned
	asked   int
	fails   error // of Decisions
	done    chan struct{}
}

func (s *still) Status() paxos.Status                       { return s.status }
func (s *still) Configuration() (paxos.Configuration, bool) { return s.members, s.settled }
func (s *still) Tracing() paxos.Tracing                     { return paxos.Tracing{} }
func (s *still) Events(after uint64) iter.Seq[paxos.Event]  { return func(func(paxos.Event) bool) {} }
func (s *still) Done() <-chan struct{}                      { return s.done }
func (s *still) Peek(context.Context, string) (paxos.Decision, bool, error) {
	return paxos.Decision{}, false, &paxos.ForgottenError{Names: paxos.Prefix("job/")}
}

func (s *still) Decisions(ctx context.Context, after uint64, _ ...paxos.NameRange) iter.Seq2[paxos.Learned, error] {
	return func(yield func(paxos.Learned, error) bool) {
		if s.fails != nil {
			yield(paxos.Learned{}, s.fails)
			return
		}
		for _, l := range s.learned {
			if l.Index > after {
				s.asked++
				var err error
				if l.Instance == "" {
					err = &paxos.ForgottenError{Names: paxos.OneName("gone")}
				}
				if !yield(l, err) {
					return
				}
			}
		}
		<-ctx.Done()
		yield(paxos.Learned{}, ctx.Err())
	}
}

func newStill(t *testing.T, peers ...paxos.PeerStatus) (*still, *Handler) {
	s := &still{settled: true, done: make(chan struct{})}
	s.status = paxos.Status{ID: 1, Boot: 2, Peers: peers}
	s.members.Members = paxos.Members{Cluster: "lunch", Acceptors: []paxos.ServerID{1, 2, 3}}
	h, err := NewHandler(s, Config{Shown: 3})
	require.NoError(t, err)
	return s, h
}

func TestHeadline(t *testing.T) {
	up := paxos.PeerStatus{ID: 2, Votes: true, Heard: time.Second}
	silent := paxos.PeerStatus{ID: 3, Votes: true, Heard: time.Minute}
	never := paxos.PeerStatus{ID: 4, Heard: -1}
	refused := paxos.PeerStatus{ID: 5, Heard: 1, Refused: "another cluster"}
	for _, c := range []struct {
		peers  []paxos.PeerStatus
		change func(s *paxos.Status)
		state  string
		want   string
	}{
		{nil, nil, "good", "the only one"},
		{[]paxos.PeerStatus{up}, nil, "good", "All 2 servers"},
		{[]paxos.PeerStatus{up, silent}, nil, "warn", "1 server is silent"},
		{[]paxos.PeerStatus{silent, never}, nil, "warn", "2 servers are silent"},
		{[]paxos.PeerStatus{refused, silent}, nil, "warn", "1 server is refused"},
		{[]paxos.PeerStatus{refused}, func(s *paxos.Status) { s.NoQuorum = 1 }, "bad", "No quorum"},
		{nil, func(s *paxos.Status) { s.StorageWait = 2 * time.Second }, "bad", "storage"},
		{nil, func(s *paxos.Status) { s.Counters.Faults = 1 }, "bad", "broke the protocol"},
		{nil, func(s *paxos.Status) { s.Err = errors.New("no disk"); s.NoQuorum = 1 }, "bad", "has stopped"}, // this Err closes Done
	} {
		s, h := newStill(t, c.peers...)
		if c.change != nil {
			c.change(&s.status)
		}
		if s.status.Err != nil {
			close(s.done)
		}
		v := h.look(t.Context())
		assert.Equal(t, c.state, v.Headline.State, c.want)
		assert.Contains(t, v.Headline.Text, c.want)
	}
	_, h := newStill(t, refused, never, silent, up)
	var states []string
	for _, v := range h.look(t.Context()).Servers {
		states = append(states, v.State)
	}
	assert.Equal(t, []string{"self", "up", "silent", "silent", "refused"}, states, "in the order of their IDs")
}

func TestWhy(t *testing.T) {
	at := func(server paxos.ServerID) paxos.Ballot { return paxos.Ballot{Round: 4, Server: server} }
	for _, c := range []struct {
		open   paxos.OpenInstance
		status paxos.Status
		want   string
	}{
		{paxos.OpenInstance{Calls: 1}, paxos.Status{}, "1 call waits here; nobody has proposed yet"},
		{paxos.OpenInstance{}, paxos.Status{}, "its votes are not known here"},
		{paxos.OpenInstance{Calls: 2, Ballot: at(1)}, paxos.Status{}, "2 calls wait here; this server is at work, in ballot 4.1"},
		{paxos.OpenInstance{Ballot: at(3)}, paxos.Status{}, "server 3 is at work, in ballot 4.3"},
		{paxos.OpenInstance{Ballot: at(3), Orphaned: true}, paxos.Status{}, "no value is known, so it waits for a proposal"},
		{paxos.OpenInstance{Ballot: at(3)}, paxos.Status{NoQuorum: 1}, "no quorum answers"},
		{paxos.OpenInstance{Ballot: at(3)}, paxos.Status{StorageWait: 2 * time.Second}, "the storage does not answer"},
	} {
		c.status.ID = 1
		assert.Equal(t, c.want, why(&c.open, &c.status))
	}
}

func TestMembersView(t *testing.T) {
	s, h := newStill(t, paxos.PeerStatus{ID: 2, Votes: true, Complete: true}, paxos.PeerStatus{ID: 3, Votes: true}, paxos.PeerStatus{ID: 4})
	s.members.Number, s.settled = 7, false
	s.members.Members.Learners, s.members.Members.Addresses = []paxos.ServerID{4}, map[paxos.ServerID]string{3: "three:7000"}
	s.status.Import = paxos.ImportStatus{Sources: 2, Done: 1, Records: 50, Goal: 200}
	v := h.look(t.Context()).Members
	assert.Equal(t, membersView{Number: 7, Acceptors: []string{"1", "2", "3 at three:7000"}, Learners: []string{"4"}, Quorum: "majority(3)", Sources: 2, SourcesDone: 1,
		Records: 50, Goal: 200, Percent: 25, Incomplete: []string{"3"}, IsTakingOver: true}, v)
	var b bytes.Buffer
	require.NoError(t, templates.ExecuteTemplate(&b, "members", view{Members: v}))
	assert.Contains(t, b.String(), `<progress id="progress" max="100" value="25">`)
	assert.Contains(t, b.String(), "not settled yet")
}

// However many decisions come, a look reads no more than it shows. It does not wait for one that Decisions leaves out.
func TestDecisionsOfALook(t *testing.T) {
	s, h := newStill(t)
	for i := range 100 {
		s.learned = append(s.learned, paxos.Learned{Index: uint64(i + 1), Decision: paxos.Decision{Instance: "name", Value: paxos.Value(strings.Repeat("x", i))}})
	}
	s.learned[98].Instance = ""
	s.status.Index = 100
	v := h.look(t.Context())
	assert.Equal(t, 3, s.asked)
	require.Len(t, v.Decisions, 3)
	assert.Equal(t, []uint64{100, 99, 98}, []uint64{v.Decisions[0].Index, v.Decisions[1].Index, v.Decisions[2].Index})
	assert.Equal(t, "gone", v.Decisions[1].Forgotten)
	h.look(t.Context())
	assert.Equal(t, 3, s.asked, "nothing has come since")
	s.status.Index = 101
	began := time.Now()
	v = h.look(t.Context())
	assert.Len(t, v.Decisions, 2)
	assert.Less(t, time.Since(began), 5*time.Second)
	assert.NotEmpty(t, v.Rate)
	s.learned = append(s.learned, paxos.Learned{Index: 102, Decision: paxos.Decision{Instance: "busy"}})
	s.status.Index, s.fails = 102, paxos.ErrBusy
	assert.Empty(t, h.look(t.Context()).Decisions)
	s.fails = nil
	assert.NotEmpty(t, h.look(t.Context()).Decisions, "it reads again what it could not read")
	for i := range 2000 {
		s.status.Instances = append(s.status.Instances, paxos.OpenInstance{Instance: "open", Age: time.Duration(i)})
	}
	assert.Len(t, h.look(t.Context()).Instances, 3)
	assert.Contains(t, h.instance(t.Context(), "job/7").State, "Forgotten")
}

func TestValue(t *testing.T) {
	for v, want := range map[paxos.Value]string{"burger": "burger", "": `""`, " x": `" x"`, "a\nb": `"a\nb"`, "\xff": `"\xff"`, "<b>": "<b>",
		paxos.Value(strings.Repeat("x", 200)): strings.Repeat("x", 160) + "… 200 bytes"} {
		assert.Equal(t, want, value(v))
	}
	long := value(paxos.Value(strings.Repeat("x", 159) + "한국어"))
	assert.Equal(t, strings.Repeat("x", 159)+"… 168 bytes", long)
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{-1: "0.0 s", 1500 * time.Millisecond: "1.5 s", 90 * time.Second: "90 s", time.Hour: "60 min", 5 * time.Hour: "5 h", 72 * time.Hour: "3 days"} {
		assert.Equal(t, want, age(d))
	}
}
