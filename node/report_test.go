package node_test

import (
	"bytes"
	"context"
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
	"github.com/singledecree/paxos/node"
)

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
