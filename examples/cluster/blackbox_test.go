package main

import (
	"flag"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	blackOps  = flag.Int("blackbox.ops", 5000, "how many operations of TestBlackBox are answered")
	blackSeed = flag.Uint64("blackbox.seed", 0, "the seed of TestBlackBox; 0: a random one")
)

const blackServers = 5

func requireSignals(t testing.TB) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("windows can't pause a process")
	}
}

// TestBlackBox runs 5 server processes on disk over TCP with mutual TLS, and 16 clients that propose, read and wait. Meanwhile a nemesis
// kills and pauses servers, and cuts, slows and resets the links between them. The answers to the clients must fit a register that is
// written once for each instance. When all is well again, all servers agree on all that was decided (I10).
func TestBlackBox(t *testing.T) {
	requireSignals(t)
	seed, ops := *blackSeed, *blackOps
	if seed == 0 {
		seed = rand.Uint64()
	}
	if testing.Short() {
		ops = min(ops, 1000)
	}
	t.Logf("-blackbox.seed=%d -blackbox.ops=%d", seed, ops)
	l := newLoad(newApart(t, program(t), blackServers), seed, ops)
	began := time.Now()
	n := l.run(ops, allFaults)
	took := time.Since(began)
	t.Logf("%d operations answered in %v, %.0f a second: %d decisions returned, %d reads of nothing, and %d proposes of unknown outcome",
		l.answered, took.Round(time.Millisecond), float64(l.answered)/took.Seconds(), l.decisions, l.nothings, l.unsure)
	t.Logf("%d of %d instances decided, %.0f a second; %s", len(l.known), l.instances, float64(len(l.known))/took.Seconds(), n)
	if t.Failed() {
		return
	}
	for what, least := range atLeast {
		assert.GreaterOrEqual(t, n.done[what], least, what)
	}
	assert.Positive(t, l.nothings, "some instances are read before they are written")

	began = time.Now()
	decided := l.agree(l.known)
	for name, proposed := range l.open { // nobody was told of a decision
		if value, ok := decided[name]; ok {
			assert.Contains(t, proposed, value, "%s: somebody proposed what is decided", name)
		}
	}
	assert.GreaterOrEqual(t, l.instances, min(1000, ops/10), "instances")
	assert.GreaterOrEqual(t, len(decided), l.instances/2, "instances decided")
	t.Logf("%v later, all %d servers have the same %d decisions, and nothing is open", time.Since(began).Round(time.Millisecond), blackServers, len(decided))
	l.checkLogs()
}

// checkLogs holds that no server has seen the protocol broken, or has stopped by itself.
func (l *load) checkLogs() {
	for _, c := range l.children {
		text, err := os.ReadFile(c.logFile)
		require.NoError(l.t, err)
		for line := range strings.Lines(string(text)) {
			assert.NotContains(l.t, line, "level=ERROR", "server %d", c.id)
		}
	}
}

// TestBlackBoxSeesAnEarlyReply: the black box finds a broken storage, which returns from each Save when it has only begun. All servers are
// killed at the same time: if one were left that remembers, it would refuse those that have forgotten.
func TestBlackBoxSeesAnEarlyReply(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	t.Parallel()
	l := newLoad(newApart(t, sabotaged(t, "early", "Storage: s.log,", "Storage: &early{Log: s.log},"), blackServers), 1, 1000)
	l.sabotaged = true
	n := l.run(1<<30, []string{"kill all", "calm"})
	require.Positive(t, l.violations, "after %d operations: %s", l.answered, n)
	t.Logf("seen after %d operations: %s", l.answered, n)
}
