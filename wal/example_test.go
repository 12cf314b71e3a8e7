package wal_test

import (
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/paxostest"
	"github.com/singledecree/paxos/wal"
)

// A Log is a Storage like any other.
func TestStorageSuite(t *testing.T) {
	t.Parallel() // it waits for the disk
	members := paxos.Members{Cluster: "c", Acceptors: []paxos.ServerID{1, 2, 3}}
	paxostest.TestStorage(t, func(t *testing.T, dir string) paxos.Storage {
		l, err := wal.Open(dir, wal.Options{})
		if errors.Is(err, fs.ErrNotExist) {
			require.NoError(t, wal.Create(dir, 1, members))
			l, err = wal.Open(dir, wal.Options{})
		}
		require.NoError(t, err)
		return l
	})
}

// Create is for once in the life of a server. Nothing is made anew by mistake.
func ExampleCreate() {
	dir, err := os.MkdirTemp("", "wal")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	members := paxos.Members{Cluster: "lunch", Acceptors: []paxos.ServerID{1, 2, 3}}
	fmt.Println(wal.Create(dir, 1, members))
	again := wal.Create(dir, 1, members)
	fmt.Println(again != nil)
	// Output:
	// <nil>
	// true
}

// Open is for each start. A second Open is refused, and a directory without a storage too.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "wal")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	_, err = wal.Open(dir, wal.Options{})
	fmt.Println("nothing is there:", errors.Is(err, fs.ErrNotExist))

	members := paxos.Members{Cluster: "lunch", Acceptors: []paxos.ServerID{1, 2, 3}}
	if err := wal.Create(dir, 1, members); err != nil {
		log.Fatal(err)
	}
	storage, err := wal.Open(dir, wal.Options{}) // for node.Config.Storage
	if err != nil {
		log.Fatal(err)
	}
	_, err = wal.Open(dir, wal.Options{})
	fmt.Println("it is open:", errors.Is(err, wal.ErrLocked))
	fmt.Println(storage.Close())
	// Output:
	// nothing is there: true
	// it is open: true
	// <nil>
}

// The storage of a stopped server is checked without a change.
func ExampleLog_Verify() {
	dir, err := os.MkdirTemp("", "wal")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	members := paxos.Members{Cluster: "lunch", Acceptors: []paxos.ServerID{1, 2, 3}}
	if err := wal.Create(dir, 1, members); err != nil {
		log.Fatal(err)
	}
	storage, err := wal.Open(dir, wal.Options{ReadOnly: true})
	if err != nil {
		log.Fatal(err)
	}
	defer storage.Close()
	var damage *wal.CorruptionError
	switch err := storage.Verify(); {
	case errors.As(err, &damage):
		fmt.Println("damaged:", damage.File, damage.Offset)
	case err != nil:
		log.Fatal(err)
	default:
		fmt.Println("whole, with decisions:", storage.Stats().Decided)
	}
	// Output: whole, with decisions: 0
}
