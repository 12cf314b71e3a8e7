package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/memory"
	"github.com/singledecree/paxos/node"
	"github.com/singledecree/paxos/tcp"
)

// A badConfig is what is wrong with a Config that is well otherwise, and how the error begins.
type badConfig struct {
	want string
	edit func(*node.Config)
}

// disjoint is a quorum system that lets two values be chosen.
type disjoint struct{}

func (disjoint) Size() int               { return 3 }
func (disjoint) Phase1(s paxos.Set) bool { return s.Len() >= 1 }
func (disjoint) Phase2(s paxos.Set) bool { return s.Len() >= 1 }
func (disjoint) String() string          { return "disjoint" }

func badConfigs() []badConfig {
	large := membersOf(65).Acceptors
	return []badConfig{
		{"Config.ID: 0 ", func(c *node.Config) { c.ID = 0 }},
		{"Config.ID: server 4 is not in Config.Members", func(c *node.Config) { c.ID = 4 }},
		{"Config.ID: 2, but the storage belongs to server 1", func(c *node.Config) { c.ID = 2 }},
		{"Config.Storage: nil", func(c *node.Config) { c.Storage = nil }},
		{"Config.Transport: nil", func(c *node.Config) { c.Transport = nil }},
		{"Config.Storage: nil", func(c *node.Config) { c.Storage = (*memory.Storage)(nil) }}, // beside an error that was not looked at
		{"Config.Transport: nil", func(c *node.Config) { c.Transport = (*tcp.Transport)(nil) }},
		{"Config.Transport: it belongs to server 2, but Config.ID is 1", func(c *node.Config) { c.Transport = memory.NewNetwork().Join(2) }},
		{"Config.Members.Cluster: name is empty", func(c *node.Config) { c.Members.Cluster = "" }},
		{"Config.Members.Cluster: name has 256 bytes", func(c *node.Config) { c.Members.Cluster = strings.Repeat("x", 256) }},
		{"Config.Members.Cluster: name ", func(c *node.Config) { c.Members.Cluster = "\xff" }},
		{"Config.Members.Acceptors: 0 servers: want 1 to 64", func(c *node.Config) { c.Members.Acceptors = nil }},
		{"Config.Members.Acceptors: 65 servers: want 1 to 64", func(c *node.Config) { c.Members.Acceptors = large }},
		{"Config.Members.Acceptors: server 1 after 2", func(c *node.Config) { c.Members.Acceptors = []paxos.ServerID{2, 1, 3} }},
		{"Config.Members.Acceptors: server 2 after 2", func(c *node.Config) { c.Members.Acceptors = []paxos.ServerID{1, 2, 2} }},
		{"Config.Members.Acceptors: server 0 ", func(c *node.Config) { c.Members.Acceptors = []paxos.ServerID{0, 1, 2} }},
		{"Config.Members.Learners: 1025 servers", func(c *node.Config) { c.Members.Learners = make([]paxos.ServerID, 1025) }},
		{"Config.Members.Learners: server 5 after 5", func(c *node.Config) { c.Members.Learners = []paxos.ServerID{5, 5} }},
		{"Config.Members.Learners: server 0 ", func(c *node.Config) { c.Members.Learners = []paxos.ServerID{0} }},
		{"Config.Members.Learners: server 3 is an acceptor", func(c *node.Config) { c.Members.Learners = []paxos.ServerID{3} }},
		{"Config.Members.Quorum: majority(4) counts 4 acceptors", func(c *node.Config) { c.Members.Quorum = paxos.Majority(4) }},
		{"Config.Members.Quorum: paxos: quorum disjoint: ", func(c *node.Config) { c.Members.Quorum = disjoint{} }},
		{"Config.Limits.MaxValue: ", func(c *node.Config) { c.Limits.MaxValue = 1<<20 + 1 }},
		{"Config.Limits.MaxHint: ", func(c *node.Config) { c.Limits.MaxHint = -1 }},
		{"Config.Limits.MaxPacket: 1: want 4096 to 67108864, or 0 for the default", func(c *node.Config) { c.Limits.MaxPacket = 1 }},
		{"Config.Limits.MaxBatch: ", func(c *node.Config) { c.Limits.MaxBatch = 1 << 30 }},
		{"Config.Limits.MaxOpen: ", func(c *node.Config) { c.Limits.MaxOpen = -1 }},
		{"Config.Limits.MaxCalls: ", func(c *node.Config) { c.Limits.MaxCalls = 1 << 25 }},
		{"Config.Limits.Cache: ", func(c *node.Config) { c.Limits.Cache = -1 }},
		{"Config.Timing.Phase: ", func(c *node.Config) { c.Timing.Phase = time.Microsecond }},
		{"Config.Timing.MaxBackoff: ", func(c *node.Config) { c.Timing.MaxBackoff = -time.Second }},
		{"Config.Timing.Silence: ", func(c *node.Config) { c.Timing.Silence = 2 * time.Hour }},
		{"Config.Timing.MaxSilence: ", func(c *node.Config) { c.Timing.MaxSilence = 1 }},
	}
}

func TestStartNamesTheBadField(t *testing.T) {
	for _, bad := range badConfigs() {
		t.Run(bad.want, func(t *testing.T) {
			c := newTestCluster(t, membersOf(3))
			c.config = bad.edit
			_, err := c.tryStart(context.Background(), 1)
			require.Error(t, err)
			assert.True(t, strings.HasPrefix(err.Error(), "paxos: start: "+bad.want), "%v", err)
			assert.Zero(t, c.store(1).count("save")-1, "nothing was saved since Format")
			c.config = nil
			c.start(1)
		})
	}
}

func TestStartRefusesTheStorage(t *testing.T) {
	other := membersOf(3)
	other.Cluster = "other"
	five := membersOf(5)
	flexible := membersOf(3)
	flexible.Quorum, _ = paxos.Flexible(3, 3, 1)
	for want, m := range map[string]*paxos.Members{
		"storage is not formatted: call Format once":                                          nil,
		`storage belongs to cluster "other", Members.Cluster is "test"`:                       &other,
		"storage votes under acceptors 1,2,3,4,5 majority(5), Members says 1,2,3 majority(3)": &five,
		"storage votes under acceptors 1,2,3 flexible(3,3,1), Members says 1,2,3 majority(3)": &flexible,
	} {
		c := newTestCluster(t, membersOf(3))
		c.storage[1] = newTestStorage(t)
		if m != nil {
			require.NoError(t, paxos.Format(c.storage[1], 1, *m))
		}
		_, err := c.tryStart(context.Background(), 1)
		require.ErrorContains(t, err, "paxos: start: "+want)
	}
}

// A part of a storage that is older than the rest can hold a state that knows nothing of a decision: Start says so, and says which.
func TestStartRefusesAnIndexAboveLast(t *testing.T) {
	for last, want := range map[uint64]string{
		6: `paxos: start: storage: Record "lunch": Index: 7, above ServerState.Last, 6: a part of the storage is older than the rest`,
		7: "",
	} {
		c := newTestCluster(t, membersOf(3))
		c.config = func(cfg *node.Config) { cfg.Storage = olderState{cfg.Storage, last} }
		s := c.store(1)
		state, err := s.Storage.Server()
		require.NoError(t, err)
		state.Last = 7
		b := paxos.Ballot{Round: 1, Server: 1}
		require.NoError(t, s.Storage.Save(paxos.Batch{Server: &state, Records: []paxos.Record{{Instance: "lunch", Chosen: true, Index: 7,
			Acceptor: paxos.Acceptor{Promised: b, Accepted: b, Value: "kimbap"}}}}))
		n, err := c.tryStart(context.Background(), 1)
		if want == "" {
			require.NoError(t, err)
			require.NoError(t, n.Close())
			continue
		}
		require.EqualError(t, err, want)
		assert.Equal(t, "start", opError(t, err).Op)
	}
}

// An olderState is a Storage with the Last of an earlier time.
type olderState struct {
	paxos.Storage
	last uint64
}

func (s olderState) Server() (paxos.ServerState, error) {
	state, err := s.Storage.Server()
	state.Last = s.last
	return state, err
}

func TestStartContextEndsWhileTheFirstSaveHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		release := make(chan struct{})
		c.store(1).hooks(func(call storageCall) error {
			if call.op == "save" {
				<-release
			}
			return nil
		}, nil)
		cause := errors.New("no patience")
		ctx, cancel := context.WithTimeoutCause(context.Background(), time.Second, cause)
		defer cancel()
		start := inBackground(func() (paxos.Decision, error) {
			_, err := c.tryStart(ctx, 1)
			return paxos.Decision{}, err
		})
		time.Sleep(time.Minute)
		close(release)
		synctest.Wait() // the Save that hung has returned, so another may begin
		err := (<-start).err
		assert.EqualError(t, err, "paxos: start: the storage has not saved yet: context deadline exceeded: no patience")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, cause)
		assert.Empty(t, c.net.messages())
		c.start(1)
		c.start(2)
		propose(t, c.nodes[1], "lunch", "burger")
	})
}

// Nothing leaves a server before its first Save is durable.
func TestStartSaysNothingBeforeItsFirstSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		c.start(1)
		c.start(2)
		c.store(3).hooks(func(call storageCall) error {
			if call.op == "save" && call.n == 1 {
				time.Sleep(time.Minute)
				for _, sent := range c.net.messages() {
					assert.False(t, strings.HasPrefix(sent, "3 ->"), sent)
				}
			}
			return nil
		}, nil)
		began := time.Now()
		call := proposing(context.Background(), c.nodes[1], "lunch", "burger") // asks 3, too
		ready := inBackground(func() (paxos.Decision, error) { return paxos.Decision{}, c.nodes[1].Ready(context.Background()) })
		c.start(3)
		assert.Equal(t, time.Minute, time.Since(began))
		require.NoError(t, (<-call).err)
		require.NoError(t, (<-ready).err)
	})
}

// Packets that come before a server's first Save is done wait in the Transport, which bounds them. The server could only keep them.
func TestNodeReceivesNothingBeforeItsFirstSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		c.start(1)
		c.start(2)
		c.store(3).hooks(func(call storageCall) error {
			if call.op == "save" && call.n == 1 {
				time.Sleep(time.Minute)
				assert.NotZero(t, c.ends[3].waiting())
			}
			return nil
		}, nil)
		value := strings.Repeat("x", 1000)
		for i := range 100 {
			propose(t, c.nodes[1], fmt.Sprint("job ", i), paxos.Value(value))
		}
		c.start(3)
		synctest.Wait()
		assert.Zero(t, c.ends[3].waiting())
		for i := range 100 {
			d, err := c.nodes[3].Wait(context.Background(), fmt.Sprint("job ", i))
			require.NoError(t, err)
			assert.Equal(t, paxos.Value(value), d.Value)
		}
	})
}

// A logBuffer is a Logger that may be held up.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func TestNodeLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		var out logBuffer
		c.config = func(cfg *node.Config) { cfg.Logger = out.logger() }
		twin := copyOf(t, c.store(1).Storage)
		c.start(1)
		c.config = nil
		c.start(2)
		propose(t, c.nodes[1], "lunch", "burger")
		second, err := node.Start(context.Background(), node.Config{ID: 1, Members: c.members, Storage: twin, Transport: c.net.join(1)})
		require.NoError(t, err)
		_, err = second.Propose(context.Background(), "dinner", "soup")
		require.Error(t, err)
		liar := c.net.join(3)
		for i, v := range []paxos.Value{"burger", "pizza"} {
			liar.Send(paxos.Packet{To: 1, Store: 1, Boot: 1, Members: c.members.Fingerprint(), Seq: uint64(i + 1), Messages: []paxos.Message{
				{Kind: paxos.KindDecided, Instance: "lunch", Ballot: paxos.Ballot{Round: 7, Server: 3}, Value: v}}})
		}
		time.Sleep(time.Second)
		c.nodes[1].Close()
		second.Close()
		text := out.String()
		lines := strings.Split(strings.TrimSpace(text), "\n")
		require.Len(t, lines, 4, text)
		const who = " cluster=test server=1"
		assert.Equal(t, `level=INFO msg="server started"`+who+" boot=1", lines[0])
		assert.Contains(t, text, `level=WARN msg="peer refused"`+who+" peer=2 err=")
		assert.Contains(t, text, `level=ERROR msg="protocol broken: the instance has stopped"`+who+" instance=lunch ballot=7.3 err=")
		assert.Equal(t, `level=INFO msg="server closed"`+who, lines[3])
	})
}

func TestNodeLogsWhyItStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(1))
		var out logBuffer
		c.config = func(cfg *node.Config) { cfg.Logger = out.logger() }
		c.start(1)
		c.ends[1].fail(errTest)
		<-c.nodes[1].Done()
		assert.Contains(t, out.String(), `level=ERROR msg="server stopped" cluster=test server=1 err="transport: the test fails this"`)
	})
}

func TestNodeLogsNothingByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out logBuffer
		before := slog.Default()
		writer := log.Writer()
		slog.SetDefault(out.logger())
		log.SetOutput(&out)
		defer func() { slog.SetDefault(before); log.SetOutput(writer) }()
		c := started(t, 3)
		propose(t, c.nodes[1], "lunch", "burger")
		c.ends[1].fail(errTest)
		<-c.nodes[1].Done()
		c.nodes[2].Close()
		assert.Empty(t, out.String())
	})
}

// A trace collects events.
type trace struct {
	mu     sync.Mutex
	events []paxos.Event
}

func (tr *trace) add(_ context.Context, e paxos.Event) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.events = append(tr.events, e)
}

func TestNodeTrace(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		var tr trace
		c.nodes[1].Close()
		c.config = func(cfg *node.Config) { cfg.Trace = tr.add }
		n := c.start(1)
		decideMany(t, c, 0, 30)
		time.Sleep(time.Second)
		n.Close() // it has handed over everything by then
		var at time.Duration
		var saves, saved, seq uint64
		count := map[paxos.EventKind]int{}
		for _, e := range tr.events {
			assert.Equal(t, paxos.ServerID(1), e.Server)
			assert.Equal(t, uint64(2), e.Boot)
			assert.GreaterOrEqual(t, e.At, at)
			at = e.At
			count[e.Kind]++
			switch {
			case e.Kind == paxos.EventSave:
				assert.Equal(t, saves+1, e.Save)
				assert.Equal(t, saves, saved, "one at a time")
				saves++
			case e.Kind == paxos.EventSaved:
				saved++
				assert.Equal(t, saved, e.Save)
			case e.Kind == paxos.EventSend && e.Peer == 2:
				assert.GreaterOrEqual(t, e.Packet, seq)
				seq = e.Packet
			case e.Kind == paxos.EventLearned:
				assert.Equal(t, paxos.Value("of "+e.Message.Instance), e.Message.Value)
			}
		}
		assert.Equal(t, 30, count[paxos.EventLearned])
		assert.Equal(t, 10, count[paxos.EventCall])
		assert.Equal(t, 10, count[paxos.EventDone])
		assert.Equal(t, saves, saved)
		counters := n.Status().Counters
		var sent, received uint64
		for k := range counters.Sent {
			sent += counters.Sent[k]
			received += counters.Received[k]
		}
		assert.Equal(t, int(sent), count[paxos.EventSend])
		assert.Equal(t, int(received), count[paxos.EventReceive])
	})
}

// A Trace or a Logger that hangs holds up no decision; when it goes on, Close ends.
func TestNodeHungTraceAndLogger(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		release := make(chan struct{})
		var tr trace
		hung := slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) { <-release; return len(p), nil }), nil))
		for i, edit := range []func(*node.Config){
			func(cfg *node.Config) { cfg.Logger = hung },
			func(cfg *node.Config) {
				cfg.Trace = func(ctx context.Context, e paxos.Event) { <-release; tr.add(ctx, e) }
			},
		} {
			id := paxos.ServerID(i + 1)
			c.nodes[id].Close()
			c.config = edit
			c.start(id)
		}
		began := time.Now()
		decideMany(t, c, 0, 200)
		assert.Less(t, time.Since(began), 10*time.Second)
		closed := make(chan error, 2)
		for _, id := range []paxos.ServerID{1, 2} {
			go func() { closed <- c.nodes[id].Close() }()
		}
		synctest.Wait()
		assert.Empty(t, closed, "Close waits for its goroutines")
		close(release)
		require.NoError(t, <-closed)
		require.NoError(t, <-closed)
		assert.Greater(t, len(tr.events), 1000)
		assert.True(t, slices.IsSortedFunc(tr.events, func(a, b paxos.Event) int { return int(a.At - b.At) }))
	})
}

// The events that wait for a Trace that hangs are bounded: the latest are lost.
func TestNodeTraceLosesEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(1))
		release, got := make(chan struct{}), 0
		c.config = func(cfg *node.Config) { cfg.Trace = func(context.Context, paxos.Event) { <-release; got++ } }
		n := c.start(1)
		flood(c, 1)
		propose(t, n, "lunch", "burger")
		close(release)
		n.Close()
		assert.GreaterOrEqual(t, got, 1<<16)
		assert.Less(t, got, 1<<16+100)
	})
}

// flood gives a server more to trace than it keeps: a stranger says a lot.
func flood(c *testCluster, to paxos.ServerID) {
	stranger := c.net.join(99)
	for range 17 {
		stranger.Send(paxos.Packet{To: to, Messages: make([]paxos.Message, 4096)})
	}
	time.Sleep(time.Second)
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A slow Trace holds up nobody, and makes Close slow for 2 s at most. After that it is not called again.
func TestNodeSlowTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(1))
		var events atomic.Int64
		c.config = func(cfg *node.Config) {
			cfg.Trace = func(context.Context, paxos.Event) { time.Sleep(300 * time.Millisecond); events.Add(1) }
		}
		n := c.start(1)
		began := time.Now()
		for i := range 10 {
			propose(t, n, fmt.Sprint(i), "burger")
		}
		assert.Less(t, time.Since(began), time.Second)
		closing := time.Now()
		require.EqualError(t, n.Close(), "paxos: close: Config.Trace has not returned")
		assert.Equal(t, 2*time.Second, time.Since(closing))
		time.Sleep(time.Minute)
		assert.LessOrEqual(t, events.Load(), int64(8))
	})
}

// Nobody waits for a Logger that blocks: calls go on, Close returns, and its error says why it took so long. After that it is not called
// again.
func TestNodeLoggerBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(1))
		release, written := make(chan struct{}), 0
		c.config = func(cfg *node.Config) {
			cfg.Logger = slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) { <-release; written++; return len(p), nil }), nil))
		}
		n := c.start(1)
		synctest.Wait() // it blocks now
		propose(t, n, "lunch", "burger")
		began := time.Now()
		require.EqualError(t, n.Close(), "paxos: close: Config.Logger has not returned")
		assert.Equal(t, 2*time.Second, time.Since(began))
		assert.True(t, isDone(n))
		require.NoError(t, n.Err())
		close(release)
		synctest.Wait()
		assert.Equal(t, 1, written, "the line that blocked, and none after Close")
	})
}

// Lines and events that find no room are counted, and the log says how many there were when it goes on.
func TestNodeTellsWhatWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		var out logBuffer
		blocked, traced := make(chan struct{}), make(chan struct{})
		c.config = func(cfg *node.Config) {
			cfg.Logger = slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) { <-blocked; return out.Write(p) }), nil))
			cfg.Trace = func(context.Context, paxos.Event) { <-traced }
		}
		n := c.start(1)
		flood(c, 1)
		two := c.net.join(2)
		for i := range 1100 { // each is refused in other words: a line
			two.Send(paxos.Packet{From: 2, To: 1, Store: 1, Boot: 1, Nonce: 1, Members: c.members.Fingerprint(), Seq: uint64(i + 1),
				Messages: []paxos.Message{{Kind: paxos.KindRefuse, Value: paxos.Value(fmt.Sprint("reason ", i))}}})
			time.Sleep(2 * testLatency)
		}
		close(blocked)
		time.AfterFunc(time.Second/2, func() { close(traced) }) // Close runs then, and has the log go last
		require.NoError(t, n.Close())
		for _, want := range []string{`level=WARN msg="log lines were lost: Logger was slow" cluster=test server=1 lines=7`,
			`level=WARN msg="events were lost: Trace was slow" cluster=test server=1 events=`} {
			assert.True(t, strings.Contains(out.String(), want), want)
		}
	})
}
