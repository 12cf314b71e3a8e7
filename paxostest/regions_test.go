package paxostest

import (
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
)

// coasts are two servers in the east, and one in the west and in Europe each.
func coasts() Regions {
	return Regions{Of: []string{"east", "east", "west", "europe"}, RoundTrips: map[[2]string]time.Duration{
		{"east", "west"}: 60 * ms, {"europe", "east"}: 90 * ms, {"west", "europe"}: 140 * ms, {"europe", "mars"}: 1200 * time.Second}}
}

// TestRegionsDelay: a decision takes two round trips to the nearest quorum, and the two Saves at their ends, with a log or without.
func TestRegionsDelay(t *testing.T) {
	for _, noLog := range []bool{false, true} {
		for id, roundTrip := range map[paxos.ServerID]time.Duration{1: 60 * ms, 2: 60 * ms, 3: 60 * ms, 4: 90 * ms} { // three of four
			w := NewSim(SimConfig{Regions: coasts(), SaveTime: 2 * ms, noLog: noLog})
			call := w.Propose(id, "lunch", "burger")
			w.Until("it is decided", func() bool { return call.Ended })
			assert.Equal(t, 2*(roundTrip+2*ms), call.Took, "server %d", id)
			assert.Zero(t, call.Began)
			w.Run()
			again := w.Propose(id, "lunch", "pizza")
			assert.NotZero(t, again.Began)
			assert.Equal(t, w.Now(), again.Began)
		}
	}
	near := coasts()
	near.Of = near.Of[:2]
	for _, roundTrip := range []time.Duration{inRegion, 7 * ms} {
		w := NewSim(SimConfig{Regions: near, SaveTime: 2 * ms})
		call := w.Propose(2, "lunch", "burger")
		w.Until("it is decided", func() bool { return call.Ended })
		assert.Equal(t, 2*(roundTrip+2*ms), call.Took, "two servers of a region")
		near.RoundTrips[[2]string{"east", "east"}] = 7 * ms
	}
	assert.Len(t, NewSim(SimConfig{Regions: coasts(), Learners: 3}).members.Acceptors, 1)
}

// TestRegionsJitter: jitter makes calls take longer by no more than it says. The seed decides it.
func TestRegionsJitter(t *testing.T) {
	took := func(seed uint64) (all []time.Duration) {
		c := SimConfig{Regions: coasts(), Seed: seed}
		c.Regions.Jitter = 0.5
		w := NewSim(c)
		for _, name := range []string{"a", "b", "c", "d"} {
			call := w.Propose(1, name, "v")
			w.Until("it is decided", func() bool { return call.Ended })
			all = append(all, call.Took)
			assert.Greater(t, call.Took, 2*(60*ms+1*ms))
			assert.LessOrEqual(t, call.Took, 2*(90*ms+1*ms))
			w.RunFor(time.Second)
		}
		return all
	}
	assert.Equal(t, took(1), took(1))
	assert.NotEqual(t, took(1), took(2))
}

// TestRegionsKeepRules: rules of a script count from the delay between regions.
func TestRegionsKeepRules(t *testing.T) {
	w := NewSim(SimConfig{Regions: coasts()})
	w.Delay(Match{From: 3, Nth: 1}, 25*ms)
	w.Hold(Match{From: 4, Nth: 1})
	call := w.Propose(1, "lunch", "burger")
	w.Until("it is decided", func() bool { return call.Ended })
	assert.Equal(t, 2*(60*ms+1*ms)+25*ms, call.Took)
	w.Run()
	held := w.Now()
	w.Release(Match{})
	w.Until("the held one comes", func() bool { return w.Arrived(Match{From: 4, To: 1, Kind: paxos.KindPromise}) == 1 })
	assert.Equal(t, 45*ms, w.Now()-held)
}

// TestRegionsFail: all servers of a region crash, come back, or are cut off.
func TestRegionsFail(t *testing.T) {
	w := NewSim(SimConfig{Regions: coasts()})
	lost := w.Propose(3, "lunch", "pizza")
	w.RunFor(5 * ms)
	w.CrashRegion("west")
	w.CrashRegion("west")
	assert.False(t, w.Up(3))
	assert.Equal(t, 5*ms, lost.Took)
	w.Run()
	call := w.Propose(1, "supper", "burger")
	w.Until("it is decided", func() bool { return call.Ended })
	assert.Equal(t, 2*(90*ms+1*ms), call.Took, "Europe is needed now")
	w.RestartRegion("west")
	w.RestartRegion("west")
	assert.True(t, w.Up(3))
	w.Run()
	w.IsolateRegion("east")
	west := w.Propose(3, "dinner", "soup")
	east := w.Propose(1, "breakfast", "egg")
	w.RunFor(time.Second)
	assert.False(t, west.Ended || east.Ended)
	reached := 0
	for _, e := range w.Log() {
		if e.Kind == paxos.EventReceive && e.Message.Instance == "breakfast" {
			assert.LessOrEqual(t, e.Server, paxos.ServerID(2))
			reached++
		}
	}
	assert.NotZero(t, reached, "the servers of the region reach each other")
	w.Heal()
	w.Run()
	assert.True(t, west.Ended && east.Ended)

	var failure error
	w = NewSim(SimConfig{Regions: coasts(), Fail: func(err error) { failure = err }})
	w.CrashRegion("moon")
	require.ErrorContains(t, failure, `there is no server in region "moon"`)
}

// TestRegionsCheck: the error names the field. A Sim with an error stands still, and NewNetwork panics.
func TestRegionsCheck(t *testing.T) {
	with := func(change func(*Regions)) Regions {
		r := coasts()
		change(&r)
		return r
	}
	require.NoError(t, Regions{}.Check())
	require.NoError(t, coasts().Check())
	require.NoError(t, with(func(r *Regions) { r.RoundTrips[[2]string{"west", "east"}] = 60 * ms }).Check())
	for _, tt := range []struct {
		want    string
		regions Regions
	}{
		{`Regions.RoundTrips: "west" and "moon": there is no round-trip time`, with(func(r *Regions) { r.Of[3] = "moon"; r.RoundTrips[[2]string{"moon", "east"}] = 1 })},
		{`Regions.RoundTrips: "east" and "west" are there as 1m0s, and in the other order as 60ms: want one of them`,
			with(func(r *Regions) {
				r.RoundTrips[[2]string{"west", "east"}] = 60 * ms
				r.RoundTrips[[2]string{"east", "west"}] = time.Minute
			})},
		{`Regions.RoundTrips: "west" and "west": -1ns: want 0 to 1h`, with(func(r *Regions) { r.RoundTrips[[2]string{"west", "west"}] = -1 })},
		{`Regions.RoundTrips: "west" and "europe": 1h0m1s: want 0 to 1h`, with(func(r *Regions) { r.RoundTrips[[2]string{"west", "europe"}] = time.Hour + time.Second })},
		{`Regions.Jitter: 1.5: want 0 to 1`, with(func(r *Regions) { r.Jitter = 1.5 })},
		{`Regions.Jitter: NaN: want 0 to 1`, with(func(r *Regions) { r.Jitter = math.NaN() })},
	} {
		require.EqualError(t, tt.regions.Check(), tt.want)
		require.PanicsWithValue(t, "paxostest: NetworkConfig."+tt.want, func() { NewNetwork(NetworkConfig{Regions: tt.regions}) })
		require.PanicsWithValue(t, "paxostest: NetworkConfig."+tt.want, func() { NewNetwork(NetworkConfig{}).Change(NetworkConfig{Regions: tt.regions}) })
		var failure error
		w := NewSim(SimConfig{Regions: tt.regions, Fail: func(err error) { failure = errors.Join(failure, err) }})
		require.ErrorContains(t, failure, "SimConfig."+tt.want)
		call := w.Propose(1, "lunch", "burger")
		w.Run()
		w.CrashRegion("west")
		assert.False(t, call.Ended)
	}
	var failure error
	NewSim(SimConfig{Servers: 3, Learners: 2, Regions: coasts(), Fail: func(err error) { failure = err }})
	require.ErrorContains(t, failure, "SimConfig.Regions.Of: 4 regions for 5 servers")
	require.EqualError(t, NetworkConfig{Loss: 2}.Check(), "Loss: 2: want 0 to 1")
	require.EqualError(t, NetworkConfig{Repeat: -1}.Check(), "Repeat: -1: want 0 to 1")
}

// TestRegionsOfACluster: real Nodes on a Network take as long as regions say. A server that the regions leave out has the Delay of all.
func TestRegionsOfACluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := coasts()
		r.Of = r.Of[:3]
		c := NewCluster(t, ClusterConfig{Servers: 4, Network: NetworkConfig{Regions: r, Delay: 80 * ms}})
		time.Sleep(time.Minute) // until they have met
		began := time.Now()
		_, err := c.Node(1).Propose(t.Context(), "lunch", "burger")
		require.NoError(t, err)
		assert.Equal(t, 120*ms, time.Since(began).Truncate(ms))
		c.Network.Isolate(2)
		began = time.Now()
		_, err = c.Node(1).Propose(t.Context(), "dinner", "soup")
		require.NoError(t, err)
		assert.Equal(t, 320*ms, time.Since(began).Truncate(ms))
	})
}
