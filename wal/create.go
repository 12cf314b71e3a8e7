package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"strings"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk"
)

// Create makes dir, which must be empty or missing, the storage of server id of the cluster m: see paxos.Format. It is done once
// in the life of a server; from then on the server opens its storage with Open. An error leaves nothing behind that keeps
// Create from being called again, unless dir held something before, which it never touches.
func Create(dir string, id paxos.ServerID, m paxos.Members) error {
	return create(disk.OS{}, dir, id, m)
}

func create(files disk.FS, dir string, id paxos.ServerID, m paxos.Members) error {
	var blank formatting
	if err := paxos.Format(&blank, id, m); err != nil {
		return fmt.Errorf("wal: create %s: %w", dir, err)
	}
	if err := files.MakeDir(dir); err != nil {
		return fmt.Errorf("wal: create: %w", err)
	}
	d, err := files.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("wal: create: %w", err)
	}
	defer d.Close()
	locked, err := lock(d, false)
	if err != nil {
		return fmt.Errorf("wal: create: %w", err)
	}
	defer locked.Close()
	if err := checkUnused(d, dir); err != nil {
		return err
	}
	if err := writeManifest(d, &manifest{state: blank.state, next: 1}); err != nil {
		return fmt.Errorf("wal: create %s: %w", dir, err)
	}
	return nil
}

const lockName = "LOCK"

// checkUnused returns an error if dir holds anything but what a Create that did not finish has left.
func checkUnused(files disk.Dir, dir string) error {
	if m, err := readManifest(files); !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return fmt.Errorf("wal: create %s: it is not empty: %w", dir, err)
		}
		return fmt.Errorf("wal: create %s: it is the storage of server %d of cluster %q already: open it with Open", dir, m.state.ID, m.state.Cluster)
	}
	names, err := files.List()
	if err != nil {
		return fmt.Errorf("wal: create: %w", err)
	}
	for _, name := range names {
		if name != lockName && name != manifestName+".tmp" && name != "lost+found" {
			return fmt.Errorf("wal: create %s: it is not empty: it holds %s", dir, name)
		}
	}
	return nil
}

// absent says why a directory without a manifest can't be opened.
func absent(files disk.Dir) error {
	names, _ := files.List()
	for _, name := range names {
		if strings.HasSuffix(name, ".log") {
			return &CorruptionError{filepath.Join(files.Path(), manifestName), 0, "the file is missing, though there are segments"}
		}
	}
	return noStorage(files.Path())
}

func noStorage(dir string) error {
	return fmt.Errorf("wal: open %s: there is no storage here: if this server is new, call wal.Create, once in its life; "+
		"if it has run before, its storage is lost, and it must not come back under its ServerID: %w", dir, fs.ErrNotExist)
}

// A formatting is the empty storage of which Create takes the state that Format saves.
type formatting struct{ state paxos.ServerState }

func (f *formatting) Server() (paxos.ServerState, error) { return f.state, nil }

func (f *formatting) Load(string) (paxos.Record, error) { return paxos.Record{}, nil }

func (f *formatting) Save(b paxos.Batch) error {
	f.state = *b.Server
	return nil
}

func (f *formatting) Undecided() iter.Seq2[string, error] { return func(func(string, error) bool) {} }

func (f *formatting) Decided(uint64, int) ([]paxos.Named, error) { return nil, nil }
