package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// TestReplacedUnderLoad: real processes lose their disks under load, one after the other. Each is replaced by a new one, while 16 clients
// call and the others are killed and started again. The answers to the clients must fit a register that is written once for each instance.
// In the end all servers agree on all that was decided.
func TestReplacedUnderLoad(t *testing.T) {
	seed := *blackSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-blackbox.seed=%d", seed)
	x := rand.New(rand.NewPCG(seed, 9))
	book := newBook()
	out := &printer{w: book}
	ctx, cancel := context.WithTimeout(context.Background(), 4*aWhile)
	defer cancel()
	c, err := startLocal(out, program(t), t.TempDir(), 3)
	require.NoError(t, err)
	defer func() { assert.NoError(t, c.stop()) }()
	s := &session{out: out, timeout: aWhile / 4, lines: time.Second, pick: c.pick, other: c.other, keeper: c}
	l := newLoad(&apart{t: t, dir: c.dir, children: slices.Clone(c.children)}, seed, 1000)
	kills, rest := 0, newNemesis(l.apart, seed, nil)
	for comes := paxos.ServerID(4); comes <= 5; comes++ {
		lost := l.children[x.IntN(len(l.children))]
		require.NoError(t, lost.kill())
		require.NoError(t, os.RemoveAll(filepath.Join(c.dir, fmt.Sprint(lost.id))))
		var over atomic.Bool
		var storm sync.WaitGroup
		storm.Go(func() {
			defer over.Store(true)
			// The server that is asked may be killed. The same command goes on then.
			for ctx.Err() == nil && s.script(ctx, strings.NewReader(fmt.Sprintf("replace %d %d", lost.id, comes))) != nil {
			}
		})
		storm.Go(func() {
			others := slices.DeleteFunc(slices.Clone(l.children), func(c *child) bool { return c == lost })
			for !over.Load() && ctx.Err() == nil {
				rest.wait(ctx, rest.some(1, 500))
				victim := others[rest.IntN(len(others))]
				if victim.kill() == nil {
					kills++
					assert.NoError(t, victim.start())
				}
				rest.wait(ctx, rest.some(1000, 2000))
			}
		})
		for done := false; !done && ctx.Err() == nil; {
			done = over.Load()
			l.oneEpoch(ctx, 300)
		}
		storm.Wait()
		require.NoError(t, ctx.Err(), "%s", book)
		l.check(l.record.Take())
		l.children = slices.Clone(c.children)
		require.False(t, slices.Contains(l.children, lost))
	}
	require.Zero(t, l.violations)
	require.Positive(t, kills)
	decided := l.agree(l.known)
	t.Logf("%d calls answered, %d instances decided, %d kills", l.answered, len(decided), kills)
	l.checkLogs()
}
