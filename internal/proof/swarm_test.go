package proof_test

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos/paxostest"
)

var (
	swarmSeeds = flag.Uint64("swarm.seeds", 1000, "how many seeds TestSwarm runs")
	swarmFrom  = flag.Uint64("swarm.from", 0, "the first of them")
	swarmStep  = flag.Uint64("swarm.step", 1, "from one to the next: from 9 in steps of 10, in each some server lies")
	swarmSeed  = flag.String("swarm.seed", "", "run this seed alone, and tell all of it")
)

// TestSwarm runs clusters in which one seed each decides what goes wrong, and then heals them. No
// invariant is ever broken. When the faults have ended, all is decided and known everywhere within a bound.
func TestSwarm(t *testing.T) {
	if *swarmSeed != "" {
		tellSeed(t, *swarmSeed)
		return
	}
	if testing.Short() {
		*swarmSeeds = min(*swarmSeeds, 1000)
	}
	for _, seed := range regressSeeds(t) {
		r := paxostest.NewChaos(seed).Run(false)
		require.NoError(t, r.Err, "seed %d: of testdata/swarm-seeds.txt", seed)
	}
	s := runSwarm(t, *swarmFrom, *swarmSeeds)
	require.False(t, t.Failed())
	s.report(t)
	assert.LessOrEqual(t, s.healed(0.99), 1.0, "of the bound, at the 99th percentile")
	if *swarmSeeds >= 30_000 && *swarmStep == 1 {
		what, times := s.tally.LeastOfChange()
		assert.GreaterOrEqual(t, times, *swarmSeeds/1000, "%s", what)
	}
	if *swarmSeeds >= 100_000 {
		what, times := s.tally.Least()
		assert.GreaterOrEqual(t, times, uint64(1000), "%s", what)
	}
}

// A swarm is what came of many seeds.
type swarm struct {
	mu    sync.Mutex
	steps int
	took  time.Duration
	tally paxostest.Tally
	heals []float64 // how long it took until all was well, as a part of the bound
}

// runSwarm runs seeds on all cores, and reports the first that fails.
func runSwarm(t *testing.T, from, seeds uint64) *swarm {
	var (
		s     swarm
		next  atomic.Uint64
		wait  sync.WaitGroup
		began = time.Now()
	)
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			for seed := next.Add(1) - 1; seed < seeds && !t.Failed(); seed = next.Add(1) - 1 {
				c := paxostest.NewChaos(from + seed**swarmStep)
				r := c.Run(false)
				if r.Err != nil {
					next.Store(seeds)
					t.Errorf("seed %d: %v\nreplay it: go test ./internal/proof -run 'TestSwarm$' -swarm.seed=%d", c.Seed, r.Err, c.Seed)
					return
				}
				s.add(r, float64(r.Healed)/float64(c.Bound()))
			}
		})
	}
	wait.Wait()
	s.took = time.Since(began)
	return &s
}

func (s *swarm) add(r paxostest.ChaosResult, healed float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps += r.Steps
	s.tally.Add(r.Tally)
	s.heals = append(s.heals, healed)
}

func (s *swarm) healed(part float64) float64 {
	slices.Sort(s.heals)
	return s.heals[min(int(part*float64(len(s.heals))), len(s.heals)-1)]
}

func (s *swarm) report(t *testing.T) {
	t.Logf("%d seeds from %d, %d events in %s: %.0f a second\n", len(s.heals), *swarmFrom, s.steps, s.took.Round(time.Millisecond),
		float64(s.steps)/s.took.Seconds())
	t.Logf("all was well after the faults within, as parts of the bound: p50 %.3f, p99 %.3f, most %.3f\n%s", s.healed(0.5), s.healed(0.99),
		s.healed(1), s.tally)
}

// regressSeeds are those that once failed, each committed with what mended it.
func regressSeeds(t *testing.T) (seeds []uint64) {
	text, err := os.ReadFile("testdata/swarm-seeds.txt")
	require.NoError(t, err)
	for line := range strings.SplitSeq(string(text), "\n") {
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word == "" || word == "#" {
			continue
		}
		seed, err := strconv.ParseUint(word, 10, 64)
		require.NoError(t, err, line)
		seeds = append(seeds, seed)
	}
	return seeds
}

// tellSeed runs one seed, and if it fails tells the shortest story that fails the same way.
func tellSeed(t *testing.T, text string) {
	seed, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err)
	c := paxostest.NewChaos(seed)
	r := c.Run(true)
	if r.Err == nil {
		fmt.Printf("%v\n%s\nseed %d: nothing is broken; all was well %s after the faults\n", c, r.Sim.Text(), seed, r.Healed)
		return
	}
	short := c.Shrink()
	r = short.Run(true)
	told := r.Sim.Text()
	if most := 1 << 20; len(told) <= most {
		told += "\n" + r.Sim.Draw()
	} else {
		told = told[:most] + "\n... and more, until the bound was over"
	}
	t.Errorf("seed %d: %v\n%v\n%s", seed, r.Err, short, told)
}

// TestSwarmRepeats holds a sample of seeds to the same run twice, and once more with a log.
func TestSwarmRepeats(t *testing.T) {
	spoke := 0
	for seed := range uint64(100) {
		c := paxostest.NewChaos(seed)
		first, again, logged := c.Run(false), paxostest.NewChaos(seed).Run(false), c.Run(true)
		for _, r := range []paxostest.ChaosResult{again, logged} {
			require.Equal(t, first.Hash, r.Hash, "seed %d", seed)
			require.Equal(t, first.Steps, r.Steps, "seed %d", seed)
			require.Equal(t, first.Healed, r.Healed, "seed %d", seed)
		}
		if first.Hash != 0 {
			spoke++
		}
	}
	assert.Greater(t, spoke, 75, "where there are others, servers speak")
}
