package main

import (
	"fmt"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxoshttp"
)

// describeStatus tells the state of a server on one line.
func describeStatus(s paxoshttp.Status) string {
	var hear []paxos.ServerID
	text := ""
	for _, p := range s.Peers {
		if p.In && p.Out {
			hear = append(hear, p.ID)
		}
		if p.Refused != "" {
			text += fmt.Sprintf("  server %d: %s", p.ID, p.Refused)
		}
	}
	if s.Configuration > 0 {
		text += fmt.Sprintf("  configuration %d", s.Configuration)
	}
	if s.Unsettled != "" {
		text += " is not settled: " + s.Unsettled
		if s.Import != nil {
			text += "; " + s.Import.String()
		}
	}
	if s.NoQuorum != "" {
		text += "  no quorum for " + s.NoQuorum
	}
	if n := len(s.Broken); n > 0 {
		text += "  PROTOCOL BROKEN: " + s.Broken[n-1]
	}
	return fmt.Sprintf("up  boot %d  decisions on disk %d  open %d  connected to %s%s", s.Boot, s.Decided, s.Open+s.Orphaned, list(hear), text)
}
