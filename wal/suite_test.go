package wal

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
)

// A Log is a Storage like any other.
func TestStorageSuite(t *testing.T) {
	t.Parallel() // it waits for the disk
	paxostest.TestStorage(t, func(t *testing.T, dir string) paxos.Storage {
		l, err := Open(dir, Options{})
		if errors.Is(err, fs.ErrNotExist) {
			require.NoError(t, Create(dir, 1, members))
			l, err = Open(dir, Options{})
		}
		require.NoError(t, err)
		return l
	})
}
