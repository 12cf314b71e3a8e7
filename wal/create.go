package wal

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"

	"github.com/singledecree/paxos"
	"github.com/singledecree/paxos/internal/disk"
)

// Create makes dir the storage of server id of the cluster m: see [paxos.Format]. dir must be empty or missing. Call Create once in the
// life of a server, and [Open] at each start.
//
// Create refuses a storage that is complete, and a directory that holds anything else. It leaves both as they are.
//
// After an error or an interruption, Create can be called again, also with another id or other members. Nothing depends on the storage
// until Create has returned nil.
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
	err = checkUnused(d)
	if err == nil {
		err = format(d, &manifest{state: blank.state, next: 1})
	}
	if err != nil {
		return fmt.Errorf("wal: create %s: %w", dir, err)
	}
	return nil
}

const (
	lockName = "LOCK"
	// unfinished is a file that is durable before the manifest exists, and is removed when Create has finished.
	unfinished = "CREATE.tmp"
)

// format makes m the first manifest of an unused directory. If it fails, it leaves unfinished behind, so that Create can be called again.
func format(files disk.Dir, m *manifest) error {
	f, err := files.Create(unfinished)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err == nil {
		if err := f.Close(); err != nil {
			return err
		}
	}
	if err := syncNames(files); err != nil {
		return err
	}
	if err := writeManifest(files, m); err != nil {
		return err
	}
	return files.Remove(unfinished)
}

// checkUnused returns an error if the directory holds more than the leftovers of a Create that did not finish.
func checkUnused(files disk.Dir) error {
	names, err := files.List()
	if err != nil {
		return err
	}
	m, err := readManifest(files)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case m.next > 1 || !slices.Contains(names, unfinished):
		return fmt.Errorf("it is the storage of server %d of cluster %q already: open it with Open", m.state.ID, m.state.Cluster)
	}
	for _, name := range names {
		if !slices.Contains([]string{lockName, manifestName, manifestName + ".tmp", unfinished, "lost+found"}, name) {
			return fmt.Errorf("it is not empty: it holds %s", name)
		}
	}
	return nil
}

// absent says why a directory without a manifest can't be opened.
func absent(files disk.Dir) error {
	names, err := files.List()
	if err != nil {
		return fmt.Errorf("wal: open: %w", err)
	}
	for _, name := range names {
		if _, ok := segmentOf(name); ok {
			return &CorruptionError{filepath.Join(files.Path(), manifestName), 0, "the file is missing, though there are segments"}
		}
	}
	return noStorage(files.Path())
}

func noStorage(dir string) error {
	return fmt.Errorf("wal: open %s: there is no storage here: if this server is new, call wal.Create, once in its life; "+
		"if it has run before, its storage is lost, and it must not come back under its ServerID: %w", dir, fs.ErrNotExist)
}

// A formatting is an empty storage: Format saves the state to it, and Create takes it from there.
type formatting struct{ state paxos.ServerState }

func (f *formatting) Server() (paxos.ServerState, error) { return f.state, nil }

func (f *formatting) Load(string) (paxos.Record, error) { return paxos.Record{}, nil }

func (f *formatting) Save(b paxos.Batch) error {
	f.state = *b.Server
	return nil
}

func (f *formatting) Undecided() iter.Seq2[string, error] { return func(func(string, error) bool) {} }

func (f *formatting) Decided(uint64, int) ([]paxos.Named, error) { return nil, nil }
