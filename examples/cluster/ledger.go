package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/singledecree/paxos"
)

// ledgerFile says, in the directory of a local cluster, which servers came after the first ones, and which have left. It is written before
// anything that depends on it is done. So a process that is killed at any moment leaves a ledger that is right.
const ledgerFile = "servers"

// A standing is how far a server of a local cluster is in its life.
type standing string

const (
	making standing = "making" // it never ran: its files may be half made, and the command that makes it goes on
	made   standing = "made"   // all its files are there, and it may have run: nothing of it is ever made again
	left   standing = "left"   // it does not run any more
)

// An entry is what the ledger says of a server.
type entry struct {
	Standing standing `json:"standing"`
	Addr     string   `json:"addr,omitempty"` // for its life, as the configurations of the cluster have it; empty: it is one of the first
}

// A ledger has an entry of each server that is not one of the first, and of those of the first that have left. No entry is ever removed.
type ledger map[paxos.ServerID]entry

// readLedger reads the ledger in a directory. None means that nothing has changed.
func readLedger(dir string) (ledger, error) {
	file := filepath.Join(dir, ledgerFile)
	text, err := os.ReadFile(file)
	b := ledger{}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return b, nil
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(text, &b); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	for id, e := range b {
		known := e.Standing == making || e.Standing == made || e.Standing == left
		if id == 0 || !known || e.Standing != left && checkAddr(e.Addr) != nil {
			return nil, fmt.Errorf("%s: server %d: %q at %q is no entry", file, id, e.Standing, e.Addr)
		}
	}
	return b, nil
}

// note sets an entry, which is durable when note returns.
func (b ledger) note(dir string, id paxos.ServerID, e entry) error {
	was, had := b[id]
	b[id] = e
	text, err := json.MarshalIndent(b, "", "  ")
	if err == nil {
		err = writeDurably(filepath.Join(dir, ledgerFile), append(text, '\n'))
	}
	if err != nil {
		if delete(b, id); had {
			b[id] = was
		}
	}
	return err
}

// is reports whether the server has that standing.
func (b ledger) is(id paxos.ServerID, s standing) bool { return b[id].Standing == s }
