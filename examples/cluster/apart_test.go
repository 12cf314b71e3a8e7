package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/register"
	"github.com/singledecree/paxos/wal"
)

// An apart is a cluster of real processes, each on its own disk, with a link from each to each of the others.
type apart struct {
	t        testing.TB
	dir      string
	configs  []config
	children []*child
	links    map[[2]int]*link // by who dials and who listens: 0 to n-1
}

// newApart starts n servers, and kills them when the test ends.
func newApart(t testing.TB, program string, n int) *apart {
	t.Helper()
	a := &apart{t: t, dir: t.TempDir(), links: map[[2]int]*link{}}
	var err error
	a.configs, err = localConfigs(n)
	require.NoError(t, err)
	err = makeCerts(a.dir, localCluster, 24*time.Hour, a.configs[0].Acceptors)
	require.NoError(t, err)
	require.NoError(t, createOnce(a.dir, a.configs))
	for i, c := range a.configs {
		for j, other := range a.configs {
			if i != j {
				l := newLink(t, other.Listen)
				a.links[[2]int{i, j}] = l
				c.Peers[other.ID] = l.addr()
			}
		}
		name := filepath.Join(a.dir, fmt.Sprint(c.ID))
		require.NoError(t, c.write(name+".json"))
		a.children = append(a.children, &child{id: c.ID, program: program, file: name + ".json", logFile: name + ".log", state: "down"})
	}
	t.Cleanup(a.end)
	for _, c := range a.children {
		require.NoError(t, c.start())
	}
	return a
}

// end kills whoever lives, and shows the logs if the test has failed.
func (a *apart) end() {
	for _, c := range a.children {
		c.kill()
		if a.t.Failed() {
			text, _ := os.ReadFile(c.logFile)
			lines := strings.Split(string(text), "\n")
			a.t.Logf("log of server %d:\n%s", c.id, strings.Join(lines[max(0, len(lines)-30):], "\n"))
		}
	}
}

// wipe makes a new storage for a server that is down, as nobody ever must.
func (a *apart) wipe(i int) {
	dir := filepath.Join(a.dir, a.configs[i].Dir)
	require.NoError(a.t, os.RemoveAll(dir))
	require.NoError(a.t, wal.Create(dir, a.configs[i].ID, a.configs[i].members()))
}

var errDown = errors.New("the server is down")

// call makes a call on a server, and records it.
func (a *apart) call(ctx context.Context, r *register.Recorder, caller, i int, in register.Call, timeout time.Duration) error {
	return r.Record(caller, in, func() (value string, ok, unsure bool, err error) {
		_, reach := a.children[i].now()
		if reach == nil {
			return "", false, false, errDown
		}
		var got paxos.Decision
		if in.Op == "propose" {
			got, err = reach.propose(ctx, in.Instance, in.Value, timeout)
			ok = err == nil
		} else {
			got, ok, err = reach.ask(ctx, in.Op, in.Instance, timeout)
		}
		return string(got.Value), ok, paxos.Unknown(err), err
	})
}

// learned is what a server has told a watcher.
type learned struct {
	mu     sync.Mutex
	values map[string]string
	twice  []string // told with another value, or more than once
}

func (l *learned) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.values)
}

// agree waits until all servers have learned the same instances, among them those in known, nothing is open, and checks that
// what each has learned is the same. It returns that.
func (a *apart) agree(known map[string]string) map[string]string {
	t := a.t
	ctx, cancel := context.WithCancel(context.Background())
	var watchers sync.WaitGroup
	defer watchers.Wait()
	defer cancel()
	all := make([]*learned, len(a.children))
	for i, c := range a.children {
		all[i] = &learned{values: map[string]string{}}
		_, reach := c.now()
		require.NotNil(t, reach, "server %d", c.id)
		watchers.Go(func() {
			err := reach.watch(ctx, func(d paxos.Learned, _ *paxos.ForgottenError) {
				all[i].mu.Lock()
				defer all[i].mu.Unlock()
				if _, again := all[i].values[d.Instance]; again {
					all[i].twice = append(all[i].twice, d.Instance)
				}
				all[i].values[d.Instance] = string(d.Value)
			})
			if ctx.Err() == nil {
				assert.NoError(t, err, "server %d", c.id)
			}
		})
	}
	settled := func() bool {
		for i, c := range a.children {
			_, reach := c.now()
			if reach == nil {
				return false
			}
			s, err := reach.status(ctx, time.Second)
			if err != nil || s.Open > 0 || all[i].size() < len(known) || all[i].size() != all[0].size() {
				return false
			}
		}
		return true
	}
	late, look := time.After(2*aWhile), time.NewTicker(20*time.Millisecond)
	defer look.Stop()
	for !settled() {
		select {
		case <-look.C:
		case <-late:
			require.Fail(t, "they do not agree", "%d instances are known to be decided: %s", len(known), a.text(ctx, all))
		}
	}
	cancel()
	watchers.Wait()
	for i, l := range all {
		require.Empty(t, l.twice, "server %d told these twice", i+1)
		require.Equal(t, all[0].values, l.values, "servers 1 and %d", i+1)
	}
	for name, value := range known {
		got, ok := all[0].values[name]
		require.True(t, ok, "%s was decided, and is not", name)
		require.Equal(t, value, got, "%s", name)
	}
	return all[0].values
}

func (a *apart) text(ctx context.Context, all []*learned) (text string) {
	for i, c := range a.children {
		state, reach := c.now()
		text += fmt.Sprintf("\nserver %d: %s, told %d", c.id, state, all[i].size())
		if reach != nil {
			s, err := reach.status(ctx, time.Second)
			text += fmt.Sprintf(", %s, %v", describeStatus(s), err)
		}
	}
	return text
}

// TestPausedProcessReadsFresh is P27. A process is stopped in the middle of reads, and decisions are made elsewhere. When it goes on, each
// later Read shows them, although older answers wait in its sockets.
func TestPausedProcessReadsFresh(t *testing.T) {
	requireSignals(t)
	a := newApart(t, program(t), 3)
	ctx, cancel := context.WithTimeout(context.Background(), 2*aWhile)
	defer cancel()
	rounds := 10
	if testing.Short() {
		rounds = 3
	}
	_, one := a.children[0].now()
	_, two := a.children[1].now()
	for round := range rounds {
		name := fmt.Sprint("job ", round)
		_, ok, err := one.ask(ctx, "read", name, aWhile)
		require.NoError(t, err)
		require.False(t, ok)
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() { one.ask(ctx, "read", name, aWhile) }) // either answer is right
		}
		require.NoError(t, a.children[0].pause())
		decided, err := two.propose(ctx, name, "burger", aWhile)
		require.NoError(t, err)
		require.Equal(t, paxos.Value("burger"), decided.Value)
		sent := make(chan *paxos.Decision, 1)
		readers.Go(func() {
			got, ok, err := one.ask(ctx, "read", name, aWhile)
			assert.NoError(t, err)
			if !ok {
				sent <- nil
				return
			}
			sent <- &got
		})
		require.NoError(t, a.children[0].resume())
		got := <-sent
		require.NotNil(t, got, "round %d: a Read that began after the decision says that there is none", round)
		require.Equal(t, paxos.Value("burger"), got.Value)
		readers.Wait()
	}
}

// TestHistoryShowsForgetting: the check fails when all servers forget their storage, so its passing means something. Nothing of the example
// prevents that, and no peer remembers.
func TestHistoryShowsForgetting(t *testing.T) {
	a := newApart(t, program(t), 3)
	ctx, cancel := context.WithTimeout(context.Background(), 2*aWhile)
	defer cancel()
	r := &register.Recorder{}
	ask := func(op, value string) {
		require.NoError(t, a.call(ctx, r, 0, 0, register.Call{Op: op, Instance: "lunch", Value: value}, aWhile))
	}
	ask("read", "")
	ask("propose", "burger")
	for _, c := range a.children {
		require.NoError(t, c.kill())
		require.NoError(t, c.start())
	}
	ask("propose", "pizza")
	right := r.Take()
	require.True(t, register.Check(right), "%s", register.Text(right))
	for i, c := range a.children {
		require.NoError(t, c.kill())
		a.wipe(i)
	}
	for _, c := range a.children {
		require.NoError(t, c.start())
	}
	ask("propose", "pizza")
	require.False(t, register.Check(append(right, r.Take()...)))
}
