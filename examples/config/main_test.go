package main

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func Example() {
	main()
	// Output:
	// Server 1 sets the cache to 256 MB.
	//   server 3 follows: {Version:1 CacheMB:256 Search:false Chat:false}
	// Server 1 turns on the search, and at the same time server 2 turns on the chat.
	//   server 3 follows: {Version:3 CacheMB:256 Search:true Chat:true}
	// Server 1 dies. Server 2 sets the cache to 512 MB.
	//   server 3 follows: {Version:4 CacheMB:512 Search:true Chat:true}
}

// Three servers count up in the settings at the same time. Server 1 crashes in the middle of each of its changes, and comes back. No change
// is lost, and none counts twice.
func TestServerCrashes(t *testing.T) {
	var unknown int64
	for seed := range uint64(10) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			c := paxostest.NewCluster(t, paxostest.ClusterConfig{
				Network:  paxostest.NetworkConfig{Seed: seed + 1, Loss: 0.1, Repeat: 0.1, Delay: time.Millisecond, Jitter: 3 * time.Millisecond},
				SaveTime: time.Millisecond,
			})
			var certain, perhaps atomic.Int64
			var changing sync.WaitGroup
			for id := range paxos.ServerID(3) {
				changing.Go(func() {
					mine := 0
					for i := range 10 {
						takeBack := func() {}
						if id == 0 {
							takeBack = c.CrashOn(1, paxostest.Match{From: 1, Kind: paxos.KindAccept, Nth: i + 1})
						}
						made, err := open(c.Node(id+1)).Change(ctx, func(s *Settings) { s.CacheMB++ })
						switch {
						case err == nil:
							mine++
							assert.GreaterOrEqual(t, made.CacheMB, mine)
							certain.Add(1)
						case paxos.Unknown(err):
							perhaps.Add(1)
						}
						if takeBack(); id == 0 {
							c.Start(1)
						}
					}
				})
			}
			changing.Wait()
			last, err := open(c.Node(1)).Change(ctx, func(*Settings) {})
			require.NoError(t, err)
			assert.GreaterOrEqual(t, last.CacheMB, int(certain.Load()))
			assert.LessOrEqual(t, last.CacheMB, int(certain.Load()+perhaps.Load()))
			for id := range paxos.ServerID(3) {
				got, err := open(c.Node(id+1)).Wait(ctx, last.Version)
				require.NoError(t, err)
				assert.Equal(t, last, got)
			}
			unknown += perhaps.Load()
		})
		require.False(t, t.Failed(), "seed %d", seed+1)
	}
	assert.Greater(t, unknown, int64(10), "it crashed in the middle")
}
