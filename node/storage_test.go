package node_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos/node"
)

// A server whose own disk does not answer says that, and blames nobody else: in errors, in the log, and in its Status.
func TestNodeSaysThatItsOwnStorageHangs(t *testing.T) {
	for op, want := range map[string]string{
		"save": `paxos: propose "lunch": this server's storage has not answered for 2s: no quorum in prepare: 0 of 1 acceptors answered, majority(1) needs 1 (silent: 1): context deadline exceeded`,
		"load": `paxos: propose "lunch": this server's storage has not answered for 2s: context deadline exceeded`,
	} {
		t.Run(op, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newTestCluster(t, membersOf(1))
				var out logBuffer
				c.config = func(cfg *node.Config) { cfg.Logger = out.logger() }
				n := c.start(1)
				assert.Zero(t, n.Status().StorageWait)
				gate := make(chan struct{})
				c.store(1).hooks(func(call storageCall) error {
					if call.op == op {
						<-gate
					}
					return nil
				}, nil)
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
				defer cancel()
				_, err := n.Propose(ctx, "lunch", "burger")
				require.EqualError(t, err, want)
				assert.Equal(t, 2*time.Second, opError(t, err).Storage)
				assert.Equal(t, 2*time.Second, n.Status().StorageWait)
				synctest.Wait()
				says := func(text string) { t.Helper(); assert.True(t, strings.Contains(out.String(), text), out.String()) }
				says(`level=WARN msg="the storage does not answer" cluster=test server=1 call=` + strings.ToUpper(op[:1]) + op[1:] + " for=")
				if op == "save" {
					says(`level=WARN msg="no quorum answers" cluster=test server=1 storage=`)
				}
				close(gate)
				propose(t, n, "dinner", "soup")
				synctest.Wait()
				says(`level=INFO msg="the storage answers again"`)
				assert.Zero(t, n.Status().StorageWait)
				assert.Equal(t, 1, strings.Count(out.String(), "does not answer"))
			})
		})
	}
}

// A disk that is slow within bounds is not blamed.
func TestNodeBlamesNoStorageThatAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newTestCluster(t, membersOf(3))
		c.store(1).hooks(func(call storageCall) error { time.Sleep(50 * time.Millisecond); return nil }, nil)
		var out logBuffer
		c.config = func(cfg *node.Config) { cfg.Logger = out.logger() }
		n := c.start(1)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_, err := n.Propose(ctx, "lunch", "burger")
		assert.Contains(t, err.Error(), `paxos: propose "lunch": no quorum in prepare: 1 of 3 acceptors answered`)
		assert.Zero(t, opError(t, err).Storage)
		assert.NotContains(t, out.String(), "storage")
	})
}
