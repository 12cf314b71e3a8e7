package tcp

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
)

// A lan is servers that know each other, and each other's addresses after a restart.
type lan struct {
	config func(id paxos.ServerID, n int) Config
	addrs  map[paxos.ServerID]string
	up     map[paxos.ServerID]*Transport
}

// join starts servers, at the addresses that they had if they were there before.
func (l *lan) join(t *testing.T, ids ...paxos.ServerID) (ends []paxos.Transport) {
	for _, id := range ids {
		c := l.config(id, 4)
		if l.addrs[id] != "" {
			c.Addr, c.Peers = l.addrs[id], map[paxos.ServerID]string{}
			for other, addr := range l.addrs {
				if other != id {
					c.Peers[other] = addr
				}
			}
		}
		tr := start(t, c)
		if l.addrs[id] == "" {
			l.addrs[id] = tr.Addr().String()
			for other, end := range l.up {
				require.NoError(t, end.SetAddr(id, l.addrs[id]))
				require.NoError(t, tr.SetAddr(other, l.addrs[other]))
			}
		}
		l.up[id] = tr
		ends = append(ends, tr)
	}
	return ends
}

func TestTransportSuite(t *testing.T) {
	for name, config := range map[string]func(paxos.ServerID, int) Config{"TLS": secureConfig, "plain": plainConfig} {
		t.Run(name, func(t *testing.T) {
			lans := map[*testing.T]*lan{}
			paxostest.TestTransport(t, func(t *testing.T, ids ...paxos.ServerID) []paxos.Transport {
				if lans[t] == nil {
					lans[t] = &lan{config, map[paxos.ServerID]string{}, map[paxos.ServerID]*Transport{}}
				}
				return lans[t].join(t, ids...)
			})
		})
	}
}

func TestReachSuite(t *testing.T) {
	for name, config := range map[string]func(paxos.ServerID, int) Config{"TLS": secureConfig, "plain": plainConfig} {
		t.Run(name, func(t *testing.T) {
			paxostest.TestReach(t, func(t *testing.T, id paxos.ServerID) (paxos.ReachTransport, string) {
				c := config(id, 1)
				c.Members.Acceptors[0] = id
				tr := start(t, c)
				return tr, tr.Addr().String()
			})
		})
	}
}
