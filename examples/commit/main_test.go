package main

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
	"github.com/singledecree/paxos/recipe/commit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func Example() {
	main()
	// Output:
	// trip/1: an agent on server 1 asks for a flight, a hotel and a car.
	//   flight  prepared, then committed: 2 left
	//   hotel   prepared, then committed: 1 left
	//   car     prepared, then committed: 0 left
	// trip/2: the agent asks for a flight and a hotel. Then server 1 dies, and the agent with it.
	//   flight  prepared, then aborted: 2 left
	//   hotel   prepared, then aborted: 1 left
	//   car     pending, then aborted: 0 left
	// trip/3: an agent on server 5 asks for all three, but no car is left.
	//   flight  prepared, then aborted: 2 left
	//   hotel   prepared, then aborted: 1 left
	//   car     aborted, then aborted: 0 left
}

// The server of the agent and of the flight company crashes in the middle of a booking, at each point in turn. All companies find the same
// outcome, and a thing is sold only then, and gone only then.
func TestServerCrashes(t *testing.T) {
	outcomes := map[commit.State]int{}
	for nth := 1; nth <= 40; nth++ {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			c := paxostest.NewCluster(t, paxostest.ClusterConfig{
				Network:  paxostest.NetworkConfig{Seed: uint64(nth), Loss: 0.1, Delay: time.Millisecond, Jitter: time.Millisecond},
				SaveTime: time.Millisecond,
			})
			var companies []*company
			for i, name := range []string{"flight", "hotel", "car"} {
				companies = append(companies, &company{name, c.Node(paxos.ServerID(i + 1)), 5, map[string]commit.State{}})
			}
			takeBack := c.CrashOn(1, paxostest.Match{From: 1, Nth: nth})
			_ = book(ctx, c.Node(1), "trip", companies...) // an agent that dies tells nobody
			takeBack()
			for _, company := range companies[1:] {
				require.NoError(t, company.settle(ctx, "trip"))
			}
			companies[0].server = c.Start(1)
			require.NoError(t, companies[0].settle(ctx, "trip"))

			outcome := companies[0].trips["trip"]
			outcomes[outcome]++
			left := map[commit.State]int{commit.Aborted: 5, commit.Committed: 4}[outcome]
			for _, company := range companies {
				assert.Equal(t, outcome, company.trips["trip"], company.name)
				assert.Equal(t, left, company.free, company.name)
			}
		})
		require.False(t, t.Failed(), fmt.Sprint("crash at message ", nth))
	}
	t.Log(outcomes)
	assert.Greater(t, outcomes[commit.Aborted], 5)
	assert.Greater(t, outcomes[commit.Committed], 5)
}
