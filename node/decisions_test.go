package node_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
)

// A subscriber reads the Decisions of a server in a goroutine of its own, until it has as many as it wants.
type subscriber struct {
	pause time.Duration // after each
	most  int           // it breaks off after so many; 0: never

	mu   sync.Mutex
	got  []paxos.Learned
	err  error
	over chan struct{}
}

func (s *subscriber) follow(ctx context.Context, n *node.Node, after uint64) *subscriber {
	s.over = make(chan struct{})
	go func() {
		defer close(s.over)
		for learned, err := range n.Decisions(ctx, after) {
			time.Sleep(s.pause)
			s.mu.Lock()
			if err != nil {
				s.err = err
			} else {
				s.got = append(s.got, learned)
			}
			full := len(s.got) == s.most && s.most > 0
			s.mu.Unlock()
			if full {
				return
			}
		}
	}()
	return s
}

// seen returns what s has read so far.
func (s *subscriber) seen() []paxos.Learned {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func instancesOf(learned []paxos.Learned) (names []string) {
	for _, l := range learned {
		names = append(names, l.Instance)
	}
	return names
}

// decideMany has instances "0", "1", … decided, 25 at a time, and returns their names.
func decideMany(t *testing.T, c *testCluster, from, to int) (names []string) {
	t.Helper()
	for i := from; i < to; {
		var calls []<-chan outcome
		for range min(25, to-i) {
			names = append(names, fmt.Sprint(i))
			id := c.ids()[i%len(c.ids())]
			calls = append(calls, proposing(context.Background(), c.nodes[id], fmt.Sprint(i), paxos.Value("of "+fmt.Sprint(i))))
			i++
		}
		for _, call := range calls {
			require.NoError(t, (<-call).err)
		}
	}
	return names
}

// checkLearned checks that these are the decisions of the named instances, each once, in the order of Index above after.
func checkLearned(t *testing.T, names []string, after uint64, learned []paxos.Learned) {
	t.Helper()
	assert.ElementsMatch(t, names, instancesOf(learned))
	for _, l := range learned {
		assert.Greater(t, l.Index, after)
		assert.Equal(t, paxos.Value("of "+l.Instance), l.Value)
		assert.False(t, l.Ballot.IsZero())
		after = l.Index
	}
}

// manyDecisions are more than a subscriber holds at a time.
const manyDecisions = 600

func TestNodeDecisions(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		names := decideMany(t, c, 0, manyDecisions/2)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var all []*subscriber
		for _, id := range c.ids() {
			for range 3 {
				all = append(all, new(subscriber).follow(ctx, c.nodes[id], 0))
			}
		}
		names = append(names, decideMany(t, c, manyDecisions/2, manyDecisions)...)
		time.Sleep(time.Second)
		for _, s := range all {
			checkLearned(t, names, 0, s.seen())
		}
		cancel()
		for _, s := range all {
			<-s.over
			opError(t, s.err)
			require.ErrorIs(t, s.err, context.Canceled)
			assert.EqualError(t, s.err, "paxos: decisions: context canceled")
		}
	})
}

func TestNodeDecisionsOfASlowSubscriber(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		slow := (&subscriber{pause: time.Minute, most: 300}).follow(context.Background(), c.nodes[1], 0)
		began := time.Now()
		names := decideMany(t, c, 0, 300)
		assert.Less(t, time.Since(began), 10*time.Second, "it holds up nobody (P22)")
		assert.Empty(t, slow.seen())
		<-slow.over
		assert.NoError(t, slow.err)
		checkLearned(t, names, 0, slow.seen())
	})
}

func TestNodeDecisionsResume(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		var got []paxos.Learned
		last := func() uint64 {
			if len(got) == 0 {
				return 0
			}
			return got[len(got)-1].Index
		}
		names := decideMany(t, c, 0, 100)
		for _, most := range []int{1, 29, 30} { // it breaks off, and goes on later
			s := (&subscriber{most: most}).follow(context.Background(), c.nodes[1], last())
			<-s.over
			require.NoError(t, s.err)
			got = append(got, s.seen()...)
		}
		time.Sleep(time.Second)
		for _, id := range c.ids() {
			c.nodes[id].Close()
		}
		c.startAll()
		rest := new(subscriber).follow(context.Background(), c.nodes[1], last())
		names = append(names, decideMany(t, c, 100, 150)...)
		time.Sleep(time.Second)
		got = append(got, rest.seen()...)
		checkLearned(t, names, 0, got)
		c.nodes[1].Close()
		<-rest.over
		require.ErrorIs(t, rest.err, paxos.ErrClosed)
		opError(t, rest.err)

		n := c.start(1) // decisions that were read are there again, under the same Index
		again := (&subscriber{most: len(got)}).follow(context.Background(), n, 0)
		<-again.over
		assert.Equal(t, got, again.seen())
	})
}

func TestNodeDecisionsBreakOffInTheirBody(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		decideMany(t, c, 0, 20)
		time.Sleep(time.Second)
		n := 0
		for range c.nodes[1].Decisions(context.Background(), 0) {
			if n++; n == 7 {
				break
			}
		}
		assert.Equal(t, 7, n)
		for learned, err := range c.nodes[1].Decisions(context.Background(), 0) { // a call in the body
			require.NoError(t, err)
			if d := propose(t, c.nodes[1], learned.Instance, "late"); learned.Index == 5 {
				assert.Equal(t, learned.Decision, d)
				break
			}
		}
	})
}

func TestNodeDecisionsAfterTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 1)
		decideMany(t, c, 0, 5)
		time.Sleep(time.Second)
		s := new(subscriber).follow(context.Background(), c.nodes[1], 5)
		decideMany(t, c, 5, 10)
		time.Sleep(time.Second)
		got := s.seen()
		require.Len(t, got, 5)
		assert.Equal(t, uint64(6), got[0].Index)
	})
}

// A subscriber is shown nothing that is only accepted, and no decision before its record is durable (P22).
func TestNodeDecisionsShowNoVotes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		c.net.lose(paxos.KindAccepted, paxos.KindChosen)
		s := new(subscriber).follow(context.Background(), c.nodes[2], 0)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_, err := c.nodes[1].Propose(ctx, "lunch", "burger")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		rec, err := c.storage[2].Load("lunch")
		require.NoError(t, err)
		require.Equal(t, paxos.Value("burger"), rec.Acceptor.Value, "server 2 has voted")
		assert.Empty(t, s.seen())
	})
}

func TestNodeDecisionsShowWhatIsDurable(t *testing.T) {
	for _, visible := range []bool{false, true} {
		t.Run(fmt.Sprint("storage shows the running Save: ", visible), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := started(t, 3)
				decideMany(t, c, 0, 1)
				time.Sleep(time.Second)
				release := make(chan struct{})
				hold := func(call storageCall) error {
					if call.op == "save" && slices.ContainsFunc(call.batch.Records, func(r paxos.Record) bool { return r.Chosen }) {
						<-release
					}
					return nil
				}
				if visible {
					c.store(2).hooks(nil, hold)
				} else {
					c.store(2).hooks(hold, nil)
				}
				decideMany(t, c, 1, 2)
				time.Sleep(time.Minute)
				_, ok, err := c.nodes[2].Peek(context.Background(), "1")
				require.NoError(t, err)
				require.True(t, ok, "server 2 knows the decision")
				s := new(subscriber).follow(context.Background(), c.nodes[2], 0)
				time.Sleep(time.Minute)
				checkLearned(t, []string{"0"}, 0, s.seen())
				assert.Equal(t, uint64(1), c.nodes[2].Status().Index)
				close(release)
				time.Sleep(time.Second)
				checkLearned(t, []string{"0", "1"}, 0, s.seen())
			})
		})
	}
}

func TestNodeDecisionsEndWithTheStorage(t *testing.T) {
	for _, op := range []string{"decided", "load"} {
		synctest.Test(t, func(t *testing.T) {
			c := started(t, 3)
			decideMany(t, c, 0, 10)
			time.Sleep(time.Second)
			c.store(1).hooks(func(call storageCall) error {
				if call.op == op {
					return errTest
				}
				return nil
			}, nil)
			n := 0
			for learned, err := range c.nodes[1].Decisions(context.Background(), 0) {
				n++
				assert.Zero(t, learned)
				opError(t, err)
				require.ErrorIs(t, err, errTest)
				assert.Contains(t, err.Error(), "paxos: decisions: storage: ")
			}
			assert.Equal(t, 1, n, "an error is the end")
		})
	}
}

// An Index that this storage has not given is an error, and not a wait without end: as when the storage is another than the subscriber
// remembers. The last one that it gave is none, also right after a restart.
func TestNodeDecisionsAfterAnotherStoragesIndex(t *testing.T) {
	onBothPaths(t, 3, func(t *testing.T, c *testCluster) {
		after := func(index uint64) (paxos.Learned, error) {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			for l, err := range c.nodes[1].Decisions(ctx, index) {
				return l, err
			}
			return paxos.Learned{}, errors.New("it ended without an error")
		}
		_, err := after(1)
		require.ErrorIs(t, err, paxos.ErrIndex, "nothing was decided yet")
		propose(t, c.nodes[1], "lunch", "burger")
		first, err := after(0)
		require.NoError(t, err)
		for range 2 {
			_, err = after(first.Index)
			require.ErrorIs(t, err, context.DeadlineExceeded, "it waits for the next")
			for _, beyond := range []uint64{first.Index + 1, 1 << 40, math.MaxUint64} {
				_, err = after(beyond)
				require.ErrorIs(t, err, paxos.ErrIndex)
				assert.EqualError(t, err, fmt.Sprintf("paxos: decisions: after is %d, and the last Index of this storage is %d: not an Index of this storage", beyond, first.Index))
				assert.False(t, paxos.Unknown(err))
			}
			require.NoError(t, c.nodes[1].Close())
			_, err = after(math.MaxUint64)
			require.ErrorIs(t, err, paxos.ErrClosed, "that comes first")
			c.start(1)
		}
		next := make(chan paxos.Learned, 1)
		go func() {
			l, err := after(first.Index)
			assert.NoError(t, err)
			next <- l
		}()
		synctest.Wait()
		propose(t, c.nodes[1], "dinner", "soup")
		assert.Equal(t, "dinner", (<-next).Instance, "what is decided later comes")
	})
}

// While the Save of a decision hangs, its Index is none yet.
func TestNodeDecisionsAfterAnIndexThatIsNotDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := started(t, 3)
		propose(t, c.nodes[1], "lunch", "burger")
		time.Sleep(time.Second) // for the record of the decision
		release := make(chan struct{})
		c.store(1).hooks(func(call storageCall) error {
			if call.op == "save" {
				<-release
			}
			return nil
		}, nil)
		propose(t, c.nodes[2], "dinner", "soup")
		time.Sleep(time.Second)
		_, ok, err := c.nodes[1].Peek(context.Background(), "dinner")
		require.NoError(t, err)
		require.True(t, ok, "it is known here, and not durable")
		for _, err := range c.nodes[1].Decisions(context.Background(), 2) {
			require.ErrorIs(t, err, paxos.ErrIndex)
			break
		}
		close(release)
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for _, err := range c.nodes[1].Decisions(ctx, 2) {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			break
		}
	})
}
