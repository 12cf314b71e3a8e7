package node_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/node"
)

// The same of real Nodes, whose messages come in any order: every call ends while the callers wait. Then those of others are given up
// where they can't end, and there is room for new ones at once.
func TestNodesFullOfCallsDecide(t *testing.T) {
	for _, tt := range []struct{ servers, room int }{{3, 1}, {9, 1}, {9, 4}, {9, 16}} {
		synctest.Test(t, func(t *testing.T) {
			c := newTestCluster(t, membersOf(tt.servers))
			c.config = func(cfg *node.Config) { cfg.Limits = paxos.Limits{MaxOpen: tt.room} }
			c.startAll()
			random := rand.New(rand.NewPCG(uint64(tt.servers), uint64(tt.room)))
			c.net.obey(func(paxos.Packet, paxos.Message) []time.Duration {
				return []time.Duration{time.Duration(random.IntN(20)) * time.Millisecond}
			})
			call := func(ctx context.Context, round int) (calls []<-chan outcome) {
				for id, n := range c.nodes {
					for i := range tt.room {
						calls = append(calls, proposing(ctx, n, fmt.Sprintf("job %d of %d, round %d", i, id, round), "v"))
					}
				}
				return calls
			}
			for _, o := range call(soon(t), 1) {
				require.NoError(t, (<-o).err)
			}
			c.net.cut(c.ids()[tt.servers/2:]...) // no quorum is left
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			for _, o := range call(ctx, 2) {
				require.ErrorIs(t, (<-o).err, context.DeadlineExceeded)
			}
			c.net.heal()
			for _, o := range call(soon(t), 3) {
				require.NoError(t, (<-o).err)
			}
		})
	}
}
