package node_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/singledecree/paxos/node"
)

// A Node says it in its log, once, and names who is silent.
func TestNodeIdleLogsALostQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		c := newTestCluster(t, membersOf(3))
		c.config = func(cfg *node.Config) {
			if cfg.ID == 1 {
				cfg.Logger = log.logger()
			}
		}
		c.startAll()
		time.Sleep(time.Hour)
		assert.NotContains(t, log.String(), "quorum")
		c.net.cut(2, 3)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		assert.NotZero(t, c.nodes[1].Status().NoQuorum)
		time.Sleep(time.Hour)
		assert.Equal(t, 1, strings.Count(log.String(), "no quorum answers"), log.String())
		assert.Contains(t, log.String(), fmt.Sprintf("silent=%q", "[2 3]"))
		c.net.heal()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		assert.Zero(t, c.nodes[1].Status().NoQuorum)
		assert.Equal(t, 1, strings.Count(log.String(), "a quorum answers again"), log.String())
	})
}
