package node

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/singledecree/paxos"
)

// reportMembers logs each new configuration, and that it is settled. It also tells the Transport.
func (n *Node) reportMembers() {
	was, now := n.shows, n.view()
	n.shows = now
	c := now.configuration
	n.reach(c, now.settled)
	if c.Number != was.configuration.Number {
		n.report.log(slog.LevelInfo, "members changed", "configuration", c.Number, "acceptors", c.Members.Voters())
		for id := range n.told {
			if !c.Members.Has(id) {
				delete(n.told, id)
			}
		}
	}
	if now.settled && c.Number > 0 && (c.Number != was.configuration.Number || !was.settled) {
		n.report.log(slog.LevelInfo, "members settled", "configuration", c.Number)
	}
}

// view returns the configuration under which the Replica runs.
func (n *Node) view() (v view) {
	v.configuration, v.settled = n.replica.Configuration()
	return v
}

// knownMembers returns the present members, if Config.Members are those of any configuration that the storage knows. Else it returns
// Config.Members. So nobody has to change a Config whenever members change.
func knownMembers(cfg Config, state paxos.ServerState) (paxos.Members, error) {
	if state.Configuration == "" {
		return cfg.Members, nil
	}
	present, err := paxos.ParseConfiguration(state.Configuration)
	if err != nil {
		return paxos.Members{}, fmt.Errorf("ServerState.Configuration: %w", err)
	}
	for number := present.Number; number > 0; number-- {
		rec, err := cfg.Storage.Load(paxos.ConfigurationName(number))
		if err != nil {
			return paxos.Members{}, fmt.Errorf("load %q: %w", paxos.ConfigurationName(number), err)
		}
		c, err := paxos.ParseConfiguration(string(rec.Acceptor.Value))
		if err != nil {
			continue // the check tells what differs
		}
		before := paxos.Configuration{Number: number - 1, Members: cfg.Members}
		if cfg.Members.Cluster == c.Members.Cluster && (cfg.Members.Voters() == c.Members.Voters() || before.Fingerprint() == c.Before) {
			return present.Members, nil
		}
	}
	return cfg.Members, nil
}

// reach gives the Transport the addresses in c, if it is a ReachTransport. A server that is not in c can be reached until a later
// configuration than the one after its own is settled: so it learns that it is not needed any more. That holds also for a server whose
// address is in no configuration, but in the Config of the Transport.
func (n *Node) reach(c paxos.Configuration, settled bool) {
	t, ok := n.config.Transport.(paxos.ReachTransport)
	if !ok {
		return
	}
	for _, id := range slices.Concat(c.Members.Acceptors, c.Members.Learners) {
		if id == n.config.ID {
			continue
		}
		n.reached[id] = c.Number
		if address := c.Members.Addresses[id]; address != "" {
			t.Reach(id, address)
		}
	}
	if !settled {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(n.reached)) {
		if n.reached[id]+1 < c.Number {
			delete(n.reached, id)
			t.Reach(id, "")
		}
	}
}

// reachAtStart gives the Transport the addresses of the configuration that is stored, and of the one before while that is needed. A server of
// Config.Members that is in neither has left: the Config of the Transport may still have it.
func (n *Node) reachAtStart(state paxos.ServerState) {
	for _, id := range slices.Concat(n.config.Members.Acceptors, n.config.Members.Learners) {
		if id != n.config.ID {
			n.reached[id] = 0
		}
	}
	if before, err := paxos.ParseConfiguration(state.Before); err == nil {
		n.reach(before, false)
	}
	n.reach(n.shows.configuration, n.shows.settled)
}
