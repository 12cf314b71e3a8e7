package paxostest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
)

// received returns what has arrived at a Transport by now, as the ballots' rounds: the packets are numbered by them.
func received(t *testing.T, end paxos.Transport) (rounds []uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Microsecond)
	defer cancel()
	for {
		p, err := end.Receive(ctx)
		if err != nil {
			require.ErrorIs(t, err, context.DeadlineExceeded)
			return rounds
		}
		for _, m := range p.Messages {
			rounds = append(rounds, m.Ballot.Round)
		}
	}
}

func numbered(to paxos.ServerID, rounds ...uint64) paxos.Packet {
	p := paxos.Packet{To: to}
	for _, round := range rounds {
		p.Messages = append(p.Messages, paxos.Message{Kind: paxos.KindQuery, Instance: "job", Ballot: paxos.Ballot{Round: round, Server: 1}})
	}
	return p
}

func TestNetworkIsGoodByDefault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := paxostest.NewNetwork(paxostest.NetworkConfig{})
		a, b := n.Join(1), n.Join(2)
		p := numbered(2, 1, 2)
		p.From = 77
		a.Send(p)
		clear(p.Messages) // they were the sender's again
		got, err := b.Receive(context.Background())
		require.NoError(t, err)
		assert.Equal(t, paxos.ServerID(1), got.From, "nobody is an impostor")
		assert.Equal(t, numbered(2, 1, 2).Messages, got.Messages)
		assert.Equal(t, paxostest.NetworkStats{Sent: 1, Delivered: 1}, n.Stats())
	})
}

// The seed decides all that is random: the same links carry the same, and about as much is lost as the options say.
func TestNetworkFollowsItsSeed(t *testing.T) {
	play := func(seed uint64) (rounds []uint64, s paxostest.NetworkStats) {
		n := paxostest.NewNetwork(paxostest.NetworkConfig{Seed: seed, Loss: 0.3, Repeat: 0.2, Delay: 10 * time.Millisecond, Jitter: 20 * time.Millisecond})
		a, b := n.Join(1), n.Join(2)
		for round := range uint64(2000) {
			a.Send(numbered(2, round))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		return received(t, b), n.Stats()
	}
	synctest.Test(t, func(t *testing.T) {
		first, stats := play(1)
		again, _ := play(1)
		other, _ := play(2)
		assert.Equal(t, first, again)
		assert.NotEqual(t, first, other)
		assert.InDelta(t, 600, float64(stats.Lost), 60)
		assert.InDelta(t, 280, float64(stats.Repeated), 50)
		assert.Len(t, first, int(stats.Delivered))
		overtaken := 0
		for i := 1; i < len(first); i++ {
			if first[i] < first[i-1] {
				overtaken++
			}
		}
		assert.Greater(t, overtaken, 100)
	})
}

func TestNetworkDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := paxostest.NewNetwork(paxostest.NetworkConfig{Delay: 10 * time.Millisecond})
		a, b := n.Join(1), n.Join(2)
		a.Send(numbered(2, 1))
		time.Sleep(9 * time.Millisecond)
		assert.Empty(t, received(t, b))
		time.Sleep(2 * time.Millisecond)
		assert.Equal(t, []uint64{1}, received(t, b))
		n.Change(paxostest.NetworkConfig{Loss: 1})
		a.Send(numbered(2, 2))
		time.Sleep(time.Second)
		assert.Empty(t, received(t, b))
	})
}

func TestNetworkCuts(t *testing.T) {
	for name, test := range map[string]struct {
		cut  func(*paxostest.Network)
		want [3][3]bool // from, to: whether packets still arrive
	}{
		"nothing":  {func(*paxostest.Network) {}, [3][3]bool{{false, true, true}, {true, false, true}, {true, true, false}}},
		"a link":   {func(n *paxostest.Network) { n.Cut(1, 2) }, [3][3]bool{{false, false, true}, {false, false, true}, {true, true, false}}},
		"one way":  {func(n *paxostest.Network) { n.CutOneWay(1, 2) }, [3][3]bool{{false, false, true}, {true, false, true}, {true, true, false}}},
		"mute":     {func(n *paxostest.Network) { n.Mute(3) }, [3][3]bool{{false, true, true}, {true, false, true}, {}}},
		"deaf":     {func(n *paxostest.Network) { n.Deafen(3) }, [3][3]bool{{false, true}, {true}, {true, true}}},
		"isolated": {func(n *paxostest.Network) { n.Isolate(3) }, [3][3]bool{{false, true}, {true}, {}}},
		"a side":   {func(n *paxostest.Network) { n.Partition(1, 3) }, [3][3]bool{{false, false, true}, {}, {true}}},
		"two cuts": {func(n *paxostest.Network) { n.Partition(1); n.Partition(2, 3) }, [3][3]bool{{}, {false, false, true}, {false, true}}},
		"joined":   {func(n *paxostest.Network) { n.Partition(1); n.Heal() }, [3][3]bool{{false, true, true}, {true, false, true}, {true, true, false}}},
		"healed":   {func(n *paxostest.Network) { n.Isolate(3); n.Heal() }, [3][3]bool{{false, true, true}, {true, false, true}, {true, true, false}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := paxostest.NewNetwork(paxostest.NetworkConfig{})
				ends := []paxos.Transport{n.Join(1), n.Join(2), n.Join(3)}
				test.cut(n)
				var got [3][3]bool
				for from := range ends {
					for to := range ends {
						if from != to {
							ends[from].Send(numbered(paxos.ServerID(to+1), 1))
							got[from][to] = len(received(t, ends[to])) > 0
						}
					}
				}
				assert.Equal(t, test.want, got)
			})
		})
	}
}

func TestNetworkDropsMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := paxostest.NewNetwork(paxostest.NetworkConfig{})
		a, b := n.Join(1), n.Join(2)
		n.Drop(paxostest.Match{To: 2, Ballot: paxos.Ballot{Round: 2, Server: 1}})
		n.Drop(paxostest.Match{Kind: paxos.KindQuery, Nth: 5})
		a.Send(numbered(2, 1, 2, 3))
		a.Send(numbered(2, 2))
		a.Send(numbered(2, 7, 8))
		assert.Equal(t, []uint64{1, 3, 8}, received(t, b))
		assert.Equal(t, uint64(1), n.Stats().Lost, "of one packet nothing was left")
		n.Clear()
		a.Send(numbered(2, 2))
		assert.Equal(t, []uint64{2}, received(t, b))
	})
}

// The packets on their way are bounded: a sender that never stops costs no more memory.
func TestNetworkIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := paxostest.NewNetwork(paxostest.NetworkConfig{Delay: time.Minute})
		a, b := n.Join(1), n.Join(2)
		for range 1<<16 + 10 {
			a.Send(numbered(2, 1))
		}
		assert.Equal(t, uint64(10), n.Stats().Lost)
		time.Sleep(2 * time.Minute)
		assert.Len(t, received(t, b), 1<<16)
		a.Send(numbered(2, 1))
		assert.Equal(t, uint64(10), n.Stats().Lost, "there is room again")
		time.Sleep(2 * time.Minute)
	})
}

// To join again is to restart. The former Transport ends, and packets on their way arrive at the new one.
func TestNetworkJoinAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := paxostest.NewNetwork(paxostest.NetworkConfig{Delay: 10 * time.Millisecond})
		a, old := n.Join(1), n.Join(2)
		a.Send(numbered(2, 1))
		b := n.Join(2)
		time.Sleep(20 * time.Millisecond)
		_, err := old.Receive(context.Background())
		require.Error(t, err)
		assert.Equal(t, []uint64{1}, received(t, b))
	})
}
